"""A study's verdict as a structured report: TID 1500 (PS3.16), one a study, in the study itself.

It is UNVERIFIED, its observer is a device, and nowhere does it name a finding as present: the score
is a measurement, the triage an evaluation.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    ComprehensiveSR,
    DeviceObserverIdentifyingAttributes,
    LanguageOfContentItemAndDescendants,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    SourceImageForMeasurement,
    SourceImageForMeasurementGroup,
    TrackingIdentifier,
)
from pydicom import Dataset

from screener import __version__
from screener.domain import OWN_MANUFACTURER
from screener.pacs import codes
from screener.pacs.film import plain, reference, take_over
from screener.pacs.identity import series_uid, uid_of
from screener.pacs.moment import local_moment, stamp_content

SERIES_NUMBER = 9901
DESCRIPTION = "screener triage, not for diagnosis"
_CLASSES = {"comprehensive-3d": Comprehensive3DSR, "comprehensive": ComprehensiveSR}
SOP_CLASSES = {
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
}


def structured_report(
    row: Mapping[str, Any],
    images: Sequence[Mapping[str, Any]],
    header: Dataset,
    *,
    uid: str,
    predecessor: str,
    predecessor_class: str,
    sr_class: str,
) -> Dataset:
    """Make the report of a study.

    Args:
        row: The verdict, as the ledger keeps it.
        images: Those that it refers to; each has the three UIDs, the deciding one stands first.
        header: Patient and study, as `screener.pacs.film` copies them.
        uid: The SOP Instance UID, made from what is said.
        predecessor: The report that this one takes the place of; empty for none.
        predecessor_class: Its SOP class.
        sr_class: `comprehensive-3d` or `comprehensive`.
    """
    study_uid = str(header.StudyInstanceUID)
    evidence = []
    for each in reference(images, study_uid):
        source = plain(header)
        source.update(each)
        evidence.append(source)
    series = series_uid(study_uid, "sr")
    previous = []
    if predecessor:
        former = Dataset()
        former.SOPClassUID, former.SOPInstanceUID = predecessor_class, predecessor
        former.StudyInstanceUID, former.SeriesInstanceUID = study_uid, series
        previous.append(former)
    with warnings.catch_warnings():
        # highdicom checks names and VRs of the header, in words that hold them.
        warnings.simplefilter("ignore")
        report: Dataset = _CLASSES[sr_class](
            evidence=evidence,
            content=_content(row, images, study_uid)[0],
            series_instance_uid=series,
            series_number=SERIES_NUMBER,
            sop_instance_uid=uid,
            instance_number=1,
            series_description=DESCRIPTION,
            manufacturer=OWN_MANUFACTURER,
            manufacturer_model_name=str(row["model"])[:64],
            software_versions=str(row["software_version"] or __version__),
            device_serial_number=str(row["model_sha256"])[:16],
            is_complete=True,
            is_final=False,
            is_verified=False,
            previous_versions=previous or None,
        )
        take_over(report, header)
    stamp_content(report, local_moment(str(row["screened_at"]), header))
    return report


def _content(
    row: Mapping[str, Any], images: Sequence[Mapping[str, Any]], study_uid: str
) -> MeasurementReport:
    observer = ObserverContext(
        observer_type=codes.DEVICE,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=uid_of("device", str(row["model_sha256"])),
            name=OWN_MANUFACTURER,
            manufacturer_name=OWN_MANUFACTURER,
            model_name=str(row["model"]),
            serial_number=str(row["model_sha256"]),
        ),
    )
    algorithm = AlgorithmIdentification(
        name=str(row["model"]),
        version=str(row["software_version"] or __version__),
        parameters=_parameters(row),
    )
    deciding = images[0]
    measurements = None
    if row["score"] is not None:
        measurements = [
            Measurement(
                name=codes.score_of(str(row["finding"])),
                value=round(float(row["score"]) * 100, 2),
                unit=codes.PERCENT,
                referenced_images=[
                    SourceImageForMeasurement(
                        deciding["sop_class_uid"], deciding["sop_instance_uid"]
                    )
                ],
            )
        ]
    group = MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(
            uid=uid_of("tracking", study_uid), identifier="screener triage"
        ),
        algorithm_id=algorithm,
        measurements=measurements,
        qualitative_evaluations=[
            QualitativeEvaluation(codes.TRIAGE_CATEGORY, codes.TRIAGE[str(row["triage"])]),
            QualitativeEvaluation(codes.REASON, codes.REASONS[str(row["reason_code"])]),
        ],
        source_images=[
            SourceImageForMeasurementGroup(each["sop_class_uid"], each["sop_instance_uid"])
            for each in images
        ],
    )
    return MeasurementReport(
        observation_context=ObservationContext(observer_device_context=observer),
        procedure_reported=codes.PLAIN_CHEST_RADIOGRAPHY,
        imaging_measurements=[group],
        language_of_content_item_and_descendants=LanguageOfContentItemAndDescendants(codes.ENGLISH),
    )


def _parameters(row: Mapping[str, Any]) -> list[str]:
    told = [
        f"model_sha256={row['model_sha256']}",
        f"software_version={row['software_version']}",
        "intended_use=research use, not for diagnosis",
    ]
    if row["score"] is not None:
        told += [
            f"operating_point={row['operating_point']}",
            f"threshold={row['threshold']:.4f}",
            f"score={row['score']:.4f}",
        ]
    if row["target_sensitivity"] is not None:
        told.append(f"target_sensitivity={row['target_sensitivity']:.4f}")
    return told
