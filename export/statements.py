"""What only the site can say of a measurement, for the report: read from a TOML file.

A board asks who read the films, when, by whose leave. The program cannot know it, and says so
wherever the site has not: nothing is left blank.
"""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

from screener.errors import UsageError

STATEMENTS = {
    "clinical_role": "where in care the program is meant to stand, who acts on a flag",
    "health_inequalities": "groups that fare worse with this finding or its imaging",
    "study_design": "prospective or retrospective, and why these films",
    "data_sources": "where the films come from",
    "dates": "when they were taken",
    "setting": "the places: hospitals, wards, screening",
    "eligibility": "which patients and films were taken and left out before this list was made",
    "acquisition": "devices and protocol",
    "deidentification": "how names were removed",
    "reference_standard": "how a film came to its label, and why that way",
    "annotators": "who labelled, with what training and tools, how they agreed, what they knew",
    "treatments": "treatments that may show on the films",
    "sample_size": "why this many",
    "ethics": "approval and consent",
    "registration": "of the study",
    "protocol": "where the study's plan can be read",
    "funding": "who paid",
    "conflicts": "interests of those who measure",
    "availability": "whether films, labels and program can be had",
    "patient_involvement": "what patients and the public had to say in it",
    "implications": "what is to follow from the figures",
}
"""The keys, with what each is to say."""
MOST_CHARACTERS = 4000
MOST_BYTES = 200_000


def read_statements(path: Path) -> dict[str, str]:
    """Read the site's statements.

    Args:
        path: A TOML file, `key = "text"`, of `STATEMENTS`; an empty text says nothing.

    Raises:
        UsageError: no such file, no TOML, an unknown key, or a value that is no text.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(
            f"the statements {str(path)!r} cannot be read", error.strerror or ""
        ) from error
    if len(content) > MOST_BYTES:
        raise UsageError(f"the statements {str(path)!r} are larger than {MOST_BYTES} bytes")
    try:
        table = tomllib.loads(content.decode("utf-8"))
    except ValueError as error:
        # A wrong encoding is a ValueError too.
        raise UsageError(
            f"the statements {str(path)!r} are not TOML",
            type(error).__name__,
            'give lines such as  dates = "March to May 2026"',
        ) from error
    for key, value in table.items():
        if key not in STATEMENTS:
            near = difflib.get_close_matches(key, STATEMENTS, 1)
            raise UsageError(
                f"{str(path)!r} has the unknown key {key!r}",
                f"the keys are {', '.join(STATEMENTS)}",
                f"did you mean {near[0]!r}?" if near else "name one of them",
            )
        if not isinstance(value, str) or len(value) > MOST_CHARACTERS:
            raise UsageError(
                f"{key!r} in {str(path)!r} is no text of at most {MOST_CHARACTERS} characters",
                mend=f'give  {key} = "..."',
            )
    return {key: value.strip() for key, value in table.items() if value.strip()}
