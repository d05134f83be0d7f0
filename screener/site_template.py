"""What `screener init` writes: a commented site file, a cron line, a systemd unit and timer.

The site file is made from the settings themselves, so it names every key with its default.
"""

from __future__ import annotations

import dataclasses
import shlex
import textwrap
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from screener.settings import Settings

WIDTH = 96
ACCOUNT = "screener"
"""The account of the nightly run."""
EXAMPLES: Mapping[str, str] = {
    "model": '"/opt/screener/site.onnx"',
    "model_public_key": '"/etc/screener/site.pub"',
    "threshold": "0.31",
    "state": '"/var/lib/screener/state.sqlite"',
    "log": '"/var/log/screener/scan.jsonl"',
    "priority": '{ FLAGGED = "HIGH", NOT_SCREENED = "" }',
    "mode": "0o600",
    "csv": '{ ris = { folder = "/data/ris", file = "screener-{run_id}.csv" } }',
    "folder": '"/var/lib/worklists/TRIAGE"',
    "token_file": '"/etc/screener/pacs.token"',
    "password_file": '"/etc/screener/pacs.password"',
    "ca_file": '"/etc/screener/hospital-ca.pem"',
    "client_certificate": '"/etc/screener/screener.pem"',
    "client_key": '"/etc/screener/screener.key"',
    "certificate": '"/etc/screener/screener.pem"',
    "key": '"/etc/screener/screener.key"',
    "peers_ca_file": '"/etc/screener/hospital-ca.pem"',
}
"""For what has no default that could be written, or has a plainer form than Python's."""

_HEAD = """\
# Site file of screener: screener scan PATH... --out DIR --config THIS_FILE
# Take the # away before a key to set it; as they stand all lines show the default or an example.
# Relative paths start at the folder of this file. The command line wins.
"""


def site_file() -> str:
    """A commented site file with every key."""
    lines = [_HEAD, *_section(Settings)]
    for field in dataclasses.fields(Settings):
        kind = typing.get_type_hints(Settings)[field.name]
        if dataclasses.is_dataclass(kind):
            words = _words(Settings)[field.name]
            lines += [f"# {words}", f"[{field.name}]", *_section(typing.cast("Any", kind))]
    return "\n".join(lines)


def site_keys() -> Iterator[tuple[str, str, list[tuple[str, str, str]]]]:
    """Section (empty for the options themselves), its words, and key, default, meaning of each."""
    hints, words = typing.get_type_hints(Settings), _words(Settings)
    yield "", "", _keys(Settings)
    for field in dataclasses.fields(Settings):
        if dataclasses.is_dataclass(hints[field.name]):
            yield field.name, words[field.name], _keys(typing.cast("Any", hints[field.name]))


def _keys(kind: type[Any]) -> list[tuple[str, str, str]]:
    hints, words = typing.get_type_hints(kind), _words(kind)
    found = []
    for field in dataclasses.fields(kind):
        if dataclasses.is_dataclass(hints[field.name]):
            continue
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        shown = EXAMPLES.get(field.name) or _toml(default)
        found.append((field.name, shown, words.get(field.name, "")))
    return found


def _section(kind: type[Any]) -> Iterator[str]:
    for key, default, words in _keys(kind):
        if words:
            yield from textwrap.wrap(words, WIDTH, initial_indent="# ", subsequent_indent="# ")
        yield f"#{key} = {default}"
    yield ""


def _words(kind: type[Any]) -> dict[str, str]:
    """Attribute -> its description, from the class's docstring."""
    _, _, text = (kind.__doc__ or "").partition("Attributes:\n")
    text, _, _ = text.partition("\n\n")
    found: dict[str, str] = {}
    name = ""
    for line in textwrap.dedent(text).splitlines():
        if line and not line.startswith(" "):
            name, _, words = line.partition(":")
            found[name] = words.strip()
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return found


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(each) for each in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items()) + "}"
    return f"{value:_}" if isinstance(value, int) else str(value)


def command_line(program: Path, studies: Path, out: Path, config: Path) -> str:
    """The nightly command."""
    words = [str(program), "scan", str(studies), "--out", str(out), "--config", str(config)]
    return f"{shlex.join(words)} --quiet"


def publish_line(program: Path, out: Path, config: Path) -> str:
    """The command that sends what the report says."""
    words = [str(program), "publish", str(out), "--config", str(config)]
    return f"{shlex.join(words)} --quiet"


def pull_line(program: Path, studies: Path, config: Path) -> str:
    """The command that fetches what is then scanned."""
    words = [str(program), "pull", "--from", str(config), "--since", "last", "--out", str(studies)]
    return f"{shlex.join(words)} --quiet"


def cron_line(command: str, publish: str = "", pull: str = "") -> str:
    """A line for /etc/cron.d: at two at night, as an account of its own.

    Exit code 3 (complete, a file failed) is in the report and is no reason for a failed job, nor is
    6 (something stays queued for the next night). What was published before is sent whatever became
    of the scan; what was fetched is scanned whatever became of the pull, which prints what it says.
    """
    line = f"{command}; {publish} || [ $? -eq 6 ]" if publish else f"{command} || [ $? -eq 3 ]"
    line = f"{pull}; {line}" if pull else line
    # cron takes % for a line break.
    return f"0 2 * * * {ACCOUNT} {line.replace('%', chr(92) + '%')}"


def systemd_units(command: str, studies: Path, out: Path) -> dict[str, str]:
    """File name -> content of a service and its timer. The service has no network."""
    escaped = command.replace("%", "%%").replace("$", "$$")
    service = f"""\
[Unit]
Description=Screen chest radiographs and write the triage report
RequiresMountsFor={_path(studies)} {_path(out)}

[Service]
Type=oneshot
User={ACCOUNT}
UMask=0077
ExecStart={escaped}
SuccessExitStatus=3
Nice=10
PrivateNetwork=yes
PrivateTmp=yes
NoNewPrivileges=yes
ProtectSystem=strict
# The folders of --state and --log too, where they lie elsewhere.
ReadWritePaths={_path(out)}
"""
    timer = """\
[Unit]
Description=Screen chest radiographs every night

[Timer]
OnCalendar=*-*-* 02:00:00
Persistent=yes

[Install]
WantedBy=timers.target
"""
    return {"screener.service": service, "screener.timer": timer}


def publish_units(command: str, out: Path) -> dict[str, str]:
    """File name -> content of a service that sends, and of what starts it behind the scan's.

    It is a service of its own, for the scan's has no network.
    """
    escaped = command.replace("%", "%%").replace("$", "$$")
    service = f"""\
[Unit]
Description=Send the triage report to the PACS
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
User={ACCOUNT}
UMask=0077
ExecStart={escaped}
SuccessExitStatus=6
PrivateTmp=yes
NoNewPrivileges=yes
ProtectSystem=strict
# The folders of [worklist] and [csv] too.
ReadWritePaths={_path(out)}
"""
    behind = """\
[Unit]
OnSuccess=screener-publish.service
OnFailure=screener-publish.service
"""
    return {
        "screener-publish.service": service,
        "screener.service.d/publish.conf": behind,
    }


def pull_units(command: str, studies: Path) -> dict[str, str]:
    """File name -> content of a service that fetches, and of what starts it before the scan's.

    Its state lies beside the folder. The scan runs whatever becomes of it.
    """
    escaped = command.replace("%", "%%").replace("$", "$$")
    service = f"""\
[Unit]
Description=Fetch new studies from the PACS
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
User={ACCOUNT}
UMask=0077
ExecStart={escaped}
SuccessExitStatus=6 7
PrivateTmp=yes
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={_path(studies.parent)}
"""
    before = """\
[Unit]
Wants=screener-pull.service
After=screener-pull.service
"""
    return {"screener-pull.service": service, "screener.service.d/pull.conf": before}


def _path(path: Path) -> str:
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    return f'"{text}"' if any(character.isspace() for character in text) else text
