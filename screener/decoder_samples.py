"""A tiny frame of every transfer syntax: `doctor` really decodes it.

Written by tests/data/make_codestreams.py (dcmtk, OpenJPEG, OpenJPH); not to be edited by hand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Sample:
    """`frame`: base64 of one monochrome frame; it decodes to `sample_values(bits)`."""

    bits: int
    largest_error: int
    frame: str


def sample_values(bits: int) -> NDArray[np.int64]:
    """The image in every sample: int64 (8, 8), a gradient in [0, 2**bits)."""
    rows, columns = np.mgrid[0:8, 0:8]
    values: NDArray[np.int64] = (rows * 211 + columns * 307) >> (12 - bits)
    return values


SAMPLES: dict[str, Sample] = {
    "1.2.840.10008.1.2": Sample(
        12,
        0,
        "AAAzAWYCmQPMBP8FMgdlCNMABgI5A2wEnwXSBgUIOAmmAdkCDAQ/BXIGpQfYCAsKeQKsA98EEgZFB3gIqwneCkwD"
        "fwSyBeUGGAhLCX4KsQsfBFIFhQa4B+sIHgpRC4QM8gQlBlgHiwi+CfEKJAxXDcUF+AYrCF4JkQrEC/cMKg4=",
    ),
    "1.2.840.10008.1.2.1": Sample(
        12,
        0,
        "AAAzAWYCmQPMBP8FMgdlCNMABgI5A2wEnwXSBgUIOAmmAdkCDAQ/BXIGpQfYCAsKeQKsA98EEgZFB3gIqwneCkwD"
        "fwSyBeUGGAhLCX4KsQsfBFIFhQa4B+sIHgpRC4QM8gQlBlgHiwi+CfEKJAxXDcUF+AYrCF4JkQrEC/cMKg4=",
    ),
    "1.2.840.10008.1.2.1.99": Sample(
        12,
        0,
        "AAAzAWYCmQPMBP8FMgdlCNMABgI5A2wEnwXSBgUIOAmmAdkCDAQ/BXIGpQfYCAsKeQKsA98EEgZFB3gIqwneCkwD"
        "fwSyBeUGGAhLCX4KsQsfBFIFhQa4B+sIHgpRC4QM8gQlBlgHiwi+CfEKJAxXDcUF+AYrCF4JkQrEC/cMKg4=",
    ),
    "1.2.840.10008.1.2.2": Sample(
        12,
        0,
        "AAABMwJmA5kEzAX/BzIIZQDTAgYDOQRsBZ8G0ggFCTgBpgLZBAwFPwZyB6UI2AoLAnkDrATfBhIHRQh4CasK3gNM"
        "BH8FsgblCBgJSwp+C7EEHwVSBoUHuAjrCh4LUQyEBPIGJQdYCIsJvgrxDCQNVwXFBvgIKwleCpELxAz3Dio=",
    ),
    "1.2.840.10008.1.2.5": Sample(
        12,
        0,
        "AgAAAEAAAACIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAcA"
        "AQIDBAUHCAcAAgMEBQYICQcBAgQFBgcICgcCAwQGBwgJCgcDBAUGCAkKCwcEBQYHCAoLDAcEBgcICQoMDQcFBggJ"
        "CgsMDgcAM2aZzP8yZQfTBjlsn9IFOAem2Qw/cqXYCwd5rN8SRXir3gdMf7LlGEt+sQcfUoW46x5RhAfyJViLvvEk"
        "VwfF+CtekcT3Kg==",
    ),
    "1.2.840.10008.1.2.4.50": Sample(
        8,
        4,
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/wAALCAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABv/EABoQAAAH"
        "AAAAAAAAAAAAAAAAAAAHCCQ0QlH/2gAIAQEAAD8ALpQIeG3yo///2Q==",
    ),
    "1.2.840.10008.1.2.4.51": Sample(
        12,
        64,
        "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4R"
        "DgsLEBYQERMUFRUVDA8XGBYUGBIUFRT/wQALDAAIAAgBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACv/EABwQAAAG"
        "AwAAAAAAAAAAAAAAAAALDCg4RVVic//aAAgBAQAAPwAxiUSIfYeN5xNPz1H/2Q==",
    ),
    "1.2.840.10008.1.2.4.57": Sample(
        12,
        0,
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAIAAgBAREA/8QAFwABAQEBAAAAAAAAAAAAAAAABwgJEP/aAAgBAQAG"
        "AADtM9M9M9M9M9M9M7TampqampqarTampqampqarTampqampqarTampqampqarTampqampqarTampqampqarTamp"
        "qampqav//9k=",
    ),
    "1.2.840.10008.1.2.4.70": Sample(
        12,
        0,
        "/9j/4AAQSkZJRgABAQAAAQABAAD/wwALEAAIAAgBAREA/8QAFgABAQEAAAAAAAAAAAAAAAAACQgQ/9oACAEBAAEA"
        "AMmaZpmmaZpmmdppmmaZpmmaZpnaaZpmmaZpmmaZ2mmaZpmmaZpmmdppmmaZpmmaZpnaaZpmmaZpmmaZ2mmaZpmm"
        "aZpmmdppmmaZpmmaZpn/AP/Z",
    ),
    "1.2.840.10008.1.2.4.80": Sample(
        12,
        0,
        "/9j/9wALEAAIAAgBAREA//gADQH//wASAEMBFABA/9oACAEBAAAAALMuZcx5hS+l1LdprTWk6LoOe5y01pua5jlu"
        "U5LkLSWk47jOKYhhmE6LomCYBfl8XpeOg6Bdl0XJcFuWznueWpaFmWRYlg5znFeVxWlYVZVOaP//2Q==",
    ),
    "1.2.840.10008.1.2.4.81": Sample(
        12,
        2,
        "/9j/9wALDAAIAAgBAREA/9oACAEBAAIAAIBkBt5eXl3eQUBY0VFRSVAUBRSUlBQUFA0NE5OUE5OTFRUTk5MTExMU"
        "lRKSkpKSkhUUkpISEhGSFJSRkZEREREUgP/ZAA==",
    ),
    "1.2.840.10008.1.2.4.90": Sample(
        12,
        0,
        "/0//UQApAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/"
        "ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABsAAH/k9/hbBIrZrigIWRp68PF"
        "gC05bY2Vx+CxMdXbAfm9mTwhzXGANxWGjNg3sjWvhDDLJIGC2V0A2oxRMvu+nXBu0l9zVe3L0VUp/2bMXKvnZ+t1"
        "yqueYCQq31qqqqqqqqf/2Q==",
    ),
    "1.2.840.10008.1.2.4.91": Sample(
        12,
        0,
        "/0//UQApAAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABCwEB/1IADAAAAAEAAAQEAAH/XAAEQGD/"
        "ZAAlAAFDcmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAABsAAH/k9/hbBIrZrigIWRp68PF"
        "gC05bY2Vx+CxMdXbAfm9mTwhzXGANxWGjNg3sjWvhDDLJIGC2V0A2oxRMvu+nXBu0l9zVe3L0VUp/2bMXKvnZ+t1"
        "yqueYCQq31qqqqqqqqf/2Q==",
    ),
    "1.2.840.10008.1.2.4.201": Sample(
        12,
        0,
        "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAQE"
        "BEAB/1wAECCIkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFoAAf+TwAAmwfYF"
        "B3QAAMAAE0AAEoDw+gMHdACEAod0AMAAE8AAE4BkkfUCgnQAtNP+AINUAMAAKqAAFUBkyJAh86pyAnUApElJScAx"
        "gey2AP/Z",
    ),
    "1.2.840.10008.1.2.4.202": Sample(
        12,
        0,
        "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAQE"
        "BEAB/1wAECCIkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFoAAf+TwAAmwfYF"
        "B3QAAMAAE0AAEoDw+gMHdACEAod0AMAAE8AAE4BkkfUCgnQAtNP+AINUAMAAKqAAFUBkyJAh86pyAnUApElJScAx"
        "gey2AP/Z",
    ),
    "1.2.840.10008.1.2.4.203": Sample(
        12,
        0,
        "/0//UQApQAAAAAAIAAAACAAAAAAAAAAAAAAACAAAAAgAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAQE"
        "BEAB/1wAECCIkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAFoAAf+TwAAmwfYF"
        "B3QAAMAAE0AAEoDw+gMHdACEAod0AMAAE8AAE4BkkfUCgnQAtNP+AINUAMAAKqAAFUBkyJAh86pyAnUApElJScAx"
        "gey2AP/Z",
    ),
}
