"""The bill of materials is valid and names what is hidden in wheels; known holes are looked up."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


@pytest.mark.long
def test_the_bill_of_materials_names_the_libraries_inside_the_wheels(tmp_path: Path) -> None:
    out = tmp_path / "sbom.cdx.json"
    command = [sys.executable, "docs/make_sbom.py", sys.executable, "--out", str(out)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    text = out.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    found = {(part["name"], part.get("version")) for part in bill["components"]}
    assert {("pydicom", version("pydicom")), ("onnx", version("onnx"))} <= found
    by_name = {part["name"]: part for part in bill["components"]}
    # Decoders that no package's metadata mentions, and one that only a shared object's name tells.
    assert {"openjpeg", "charls", "libpng", "libtiff", "libjpeg-turbo", "zlib"} <= set(by_name)
    assert any(part["name"] in {"lzma", "gomp"} for part in bill["components"])
    references = [part["bom-ref"] for part in bill["components"]]
    assert len(references) == len(set(references))
    needed = [
        each
        for entry in bill["dependencies"]
        if entry["ref"].startswith("imagecodecs")
        for each in entry.get("dependsOn", [])
    ]
    assert any(each.startswith("native:imagecodecs/charls@") for each in needed)


def base_packages() -> list[str]:
    """What a scan is installed with, exactly: name==version of the base and all that it needs."""
    found: dict[str, str] = {}
    waiting = ["screener"]
    while waiting:
        for text in requires(waiting.pop()) or []:
            requirement = Requirement(text)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
                continue
            if requirement.name.lower() not in found:
                found[requirement.name.lower()] = version(requirement.name)
                waiting.append(requirement.name)
    return [f"{name}=={number}" for name, number in sorted(found.items())]


def test_no_package_of_a_scan_has_a_known_hole(tmp_path: Path) -> None:
    packages = base_packages()
    assert any(line.startswith("pydicom==") for line in packages)
    listed = tmp_path / "requirements.txt"
    listed.write_text("\n".join(packages), encoding="utf-8")
    command = [sys.executable, "-m", "pip_audit", "-r", listed, "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    if not done.stdout.strip():
        pytest.skip("no index of advisories is reached: " + done.stderr.strip()[-200:])
    judged = json.loads(done.stdout)["dependencies"]
    unknown = [each["name"] for each in judged if "skip_reason" in each]
    if len(unknown) == len(judged):
        pytest.skip("the package index that is reached keeps no advisories")
    assert [each["name"] for each in judged if each.get("vulns")] == []
