"""Write a bill of materials of an environment: CycloneDX 1.6, with the libraries inside the wheels.

    python docs/make_sbom.py .venv/bin/python --out build/sbom.cdx.json

The packages come from the environment's own metadata (cyclonedx-py). What that cannot see are C and
C++ libraries: those that decode are asked for their version in that environment, the others are
read from the shared objects and from the lists that the wheels carry (PEP 770).
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

# Runs in the environment that is described: what decodes, and where packages lie.
_PROBE = """
import json, sysconfig
from screener.native_libraries import native_libraries
found = [(each.wheel, each.name, each.version) for each in native_libraries()]
print(json.dumps([sysconfig.get_path("purelib"), found]))
"""
# "libopenjp2-7e27257a.so.2.5.4": auditwheel puts a hash of the content into the name.
_SHARED_OBJECT = re.compile(r"lib(?P<name>.+?)-[0-9a-f]{8}\.so(?:\.(?P<version>[0-9.]+))?$")


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("python", type=Path, help="the environment's interpreter")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    bill = describe(arguments.python)
    arguments.out.write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    print(f"{arguments.out}: {len(bill['components'])} components")


def describe(python: Path) -> dict:
    """The bill of materials of the environment of an interpreter."""
    command = [sys.executable, "-m", "cyclonedx_py", "environment", python, "--sv", "1.6"]
    command += ["--output-reproducible", "--of", "JSON"]
    bill = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    probe = subprocess.run([python, "-c", _PROBE], capture_output=True, check=True, text=True)
    packages, asked = json.loads(probe.stdout)
    native = {(wheel, name): version for wheel, name, version in asked}
    for wheel, name, version in _beside(Path(packages)):
        native.setdefault((wheel, name), version)
    owners = {
        each["name"].lower().replace("_", "-"): each["bom-ref"] for each in bill["components"]
    }
    for (wheel, name), version in sorted(native.items()):
        reference = f"native:{wheel}/{name}@{version}"
        bill["components"].append(
            {
                "type": "library",
                "bom-ref": reference,
                "name": name,
                "version": version,
                "properties": [{"name": "screener:wheel", "value": wheel}],
            }
        )
        for entry in bill.get("dependencies", []):
            if entry["ref"] == owners.get(wheel.lower().replace("_", "-")):
                entry.setdefault("dependsOn", []).append(reference)
        bill["dependencies"].append({"ref": reference})
    return bill


def _beside(packages: Path) -> list[tuple[str, str, str]]:
    """Wheel, name and version of the shared objects that wheels brought, and of PEP 770 lists."""
    found = []
    for folder in sorted(packages.glob("*.libs")):
        for file in sorted(folder.iterdir()):
            match = _SHARED_OBJECT.fullmatch(file.name)
            if match:
                found.append((folder.stem, match["name"], match["version"] or ""))
    for file in sorted(packages.glob("*.dist-info/sboms/*.json")):
        wheel = file.parent.parent.name.partition("-")[0]
        parts = json.loads(file.read_text(encoding="utf-8")).get("components", [])
        found += [
            (wheel, part["name"], part.get("version") or "")
            for part in parts
            if part.get("name", "").lower() != wheel.lower()
        ]
    return found


if __name__ == "__main__":
    main()
