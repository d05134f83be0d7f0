"""Draw docs/orthanc.png: a study in Orthanc after publish. Needs Orthanc and chromium.

PYTHONPATH=. python docs/make_orthanc_picture.py
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import urllib.request
from pathlib import Path

from PIL import Image

from screener.pacs.doors import DicomWeb
from screener.pacs.extra import require_extra
from screener.pacs.publish import publish
from screener.pacs.site import Publish
from screener.screening import scan
from screener.settings import Settings
from tests.pacs.servers import free_port, need, running

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "sample_data" / "studies" / "CR1"


def main() -> None:
    """Scan one sample study, publish it, photograph the page of the study."""
    need("Orthanc", "chromium")
    require_extra()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        http, dicom = free_port(), free_port()
        configuration = {
            "StorageDirectory": str(folder / "db"),
            "IndexDirectory": str(folder / "db"),
            "HttpPort": http,
            "DicomPort": dicom,
            "AuthenticationEnabled": False,
            "RemoteAccessAllowed": False,
            "Plugins": ["/usr/share/orthanc/plugins/libOrthancDicomWeb.so"],
        }
        (folder / "orthanc.json").write_text(json.dumps(configuration))
        command = ["Orthanc", str(folder / "orthanc.json")]
        with running(command, http, folder / "log"):
            root = f"http://127.0.0.1:{http}"
            for film in STUDY.rglob("*"):
                if film.is_file():
                    request = urllib.request.Request(f"{root}/instances", film.read_bytes())  # noqa: S310
                    urllib.request.urlopen(request).close()  # noqa: S310
            settings = Settings(
                settle=0,
                device="cpu",
                publish=Publish(structured_report=("dicomweb",), key_image=("dicomweb",)),
                dicomweb=DicomWeb(url=f"{root}/dicom-web"),
            )
            scan([STUDY], folder / "out", settings)
            publish(folder / "out", settings)
            with urllib.request.urlopen(f"{root}/studies") as answer:  # noqa: S310
                study = json.load(answer)[0]
            picture = folder / "picture.png"
            subprocess.run(
                [
                    "chromium",
                    "--headless",
                    "--no-sandbox",
                    "--hide-scrollbars",
                    "--window-size=1000,640",
                    "--virtual-time-budget=8000",
                    f"--screenshot={picture}",
                    f"{root}/app/explorer.html#study?uuid={study}",
                ],
                check=True,
                capture_output=True,
                cwd=folder,
                timeout=120,
            )
            with Image.open(picture) as image:
                small = image.convert("RGB").quantize(64)
                small.save(ROOT / "docs" / "orthanc.png", optimize=True)


if __name__ == "__main__":
    main()
