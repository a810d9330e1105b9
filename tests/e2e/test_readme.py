"""README tells the truth: its map, its snippets and its commands are tried here."""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from graphql import parse, validate
from pymongo import MongoClient

from api.schema import SCHEMA
from infra.settings import PastLimits, Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
SECONDS_TO_START = 60


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """What is below a heading of the second level."""
    _, _, below = README.partition(f"\n## {title}\n")
    assert below, title
    return below.partition("\n## ")[0]


def test_every_folder_and_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:api|domain|infra|readmodels|tests)/[\w./<>]*)`", README))
    made_by_recipes = {re.match(r"# (\S+)", block)[1] for block in blocks("python")}  # type: ignore[index]  # every block has its path
    missing = {
        path for path in named - made_by_recipes if "<" not in path and not (ROOT / path).exists()
    }
    assert not missing


def test_the_map_names_every_file_of_infra() -> None:
    """A name that ends in `…` stands for all that begin with it."""
    table = section("Map").partition("files in `infra/`")[2]
    names = re.findall(r"`(\w+)(…?)/?`", table)
    whole = {name for name, more in names if not more}
    beginnings = tuple(name for name, more in names if more)
    there = {path.stem for path in (ROOT / "infra").iterdir() if not path.stem.startswith("__")}
    assert whole <= there
    assert {name for name in there - whole if not name.startswith(beginnings)} == set()


def test_the_settings_are_those_there_are() -> None:
    named = set(re.findall(r"TIDINGS_[A-Z]\w*[A-Z]", README))
    known = {f"TIDINGS_{field.name.upper()}" for field in fields(Settings)}
    known |= {f"TIDINGS_PAST_{field.name.upper()}" for field in fields(PastLimits)}
    families = ("TIDINGS_PAYMENT", "TIDINGS_LIMIT", "TIDINGS_PAST")
    assert named - known <= set(families)
    assert {name for name in known - named if not name.startswith(families)} == {
        "TIDINGS_MONGODB_URI"  # is without the prefix
    }


@pytest.mark.parametrize("operation", blocks("graphql"))
def test_operations_are_valid(operation: str) -> None:
    assert validate(SCHEMA._schema, parse(operation)) == []


def test_the_listed_commands_are_those_there_are() -> None:
    told = re.search(r"`tidings --help` lists the commands:(.*?)\n\n", README, re.DOTALL)
    assert told is not None
    helped = subprocess.run(
        [sys.executable, "-m", "api", "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    for command in re.findall(r"`(\w+)`", told[1]):
        assert re.search(rf"\b{command}\b", helped), command


# -- recipes


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the recipes' files, and their lines in the registries."""
    copy = tmp_path_factory.mktemp("extended")
    tracked = subprocess.run(
        ["git", "ls-files", "api", "domain", "infra", "readmodels", "tests", "pyproject.toml"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout.split()
    for name in tracked:
        if (ROOT / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((ROOT / name).read_bytes())
    for block in blocks("python"):
        path, _, code = block.partition("\n")
        (copy / path.removeprefix("# ")).write_text(code)
    _name(
        copy / "domain/registry.py", "from domain.voucher import VOUCHER", "AGGREGATES", "VOUCHER"
    )
    _name(
        copy / "readmodels/registry.py",
        "from readmodels.vouchers import VOUCHERS",
        "PROJECTIONS",
        "VOUCHERS",
    )
    return copy


def _name(registry: Path, imported: str, constant: str, name: str) -> None:
    """What a reader does by hand: one import, and one name in a tuple."""
    text = registry.read_text()
    text = re.sub(r"^(from typing .*\n\n)", rf"\1{imported}\n", text, count=1, flags=re.MULTILINE)
    text, times = re.subn(rf"^({constant}\b[^=]*= \()", rf"\1{name}, ", text, flags=re.MULTILINE)
    assert times == 1
    registry.write_text(text)


def run_in(folder: Path, *command: str) -> str:
    """What a command prints, run in a folder with its own code first on the path."""
    done = subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_new_aggregate_keeps_the_laws(extended: Path) -> None:
    told = run_in(
        extended, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/domain/test_laws.py"
    )
    assert "passed" in told


def test_its_error_is_a_type_of_the_schema(extended: Path) -> None:
    assert "type VoucherUnknown implements CommandError" in run_in(extended, "-m", "api", "schema")


def test_the_new_read_model_folds_its_events(extended: Path) -> None:
    told = run_in(
        extended,
        "-c",
        """
from datetime import UTC, datetime
from domain.recorded import Meta, Recorded
from domain.voucher import VoucherIssued, VoucherRedeemed
from readmodels.registry import PROJECTIONS
at = datetime(2026, 1, 1, tzinfo=UTC)
meta = Meta(event_id="e", command_id="c", command="x", correlation_id="c", causation_id="c",
            actor="a", recorded_at=at)
events = [
    Recorded(event=kind(voucher_id="voucher-1", at=at), position=n, stream="voucher-1", version=n,
             meta=meta)
    for n, kind in enumerate((VoucherIssued, VoucherRedeemed), 1)
]
vouchers = next(p for p in PROJECTIONS if p.name == "vouchers")
print(vouchers.fold("voucher-1", events[:1]).open, vouchers.fold("voucher-1", events).open)
""",
    )
    assert told.split() == ["True", "False"]


# -- the first look


@pytest.fixture
def served(tmp_path: Path, mongodb_uri: str, database_name: str) -> Iterator[dict[str, str]]:
    """`tidings serve` in a folder of its own, with the memory image that README shows; the
    environment to talk to it with."""
    environment = {
        **os.environ,
        "MONGODB_URI": mongodb_uri,
        "TIDINGS_DATABASE": database_name,
        "TIDINGS_HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "api", "serve", "--port", "0", *memory_image()],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        port = re.search(r":(\d+)$", process.stdout.readline().strip())
        assert port is not None
        _until_ready(port[1])
        yield {**environment, "PORT": port[1]}
    finally:
        process.terminate()
        process.communicate(timeout=30)


def memory_image() -> list[str]:
    told = re.search(r"`tidings serve (--memory-image \w+)`", README)
    assert told is not None
    return told[1].split()


def _until_ready(port: str) -> None:
    end = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
                return
        except OSError:
            time.sleep(0.1)
    raise TimeoutError


def in_shell(script: str, environment: Mapping[str, str], folder: Path) -> str:
    """What a script prints; each of its commands must succeed."""
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        capture_output=True,
        text=True,
        env=dict(environment),
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_first_look_shows_orders(served: dict[str, str]) -> None:
    (script,) = blocks("bash", section("Start"))
    shown = in_shell(script.replace(":8000", f":{served['PORT']}"), served, ROOT)
    assert '"status"' in shown
    assert '"totalCount"' in shown


# -- the past, other pasts, and proof


@pytest.fixture
def shop(served: dict[str, str]) -> dict[str, str]:
    """The demo, with the token of somebody who may see everything."""
    in_shell("tidings load demo", served, ROOT)
    token = in_shell("tidings token --role staff --role operator", served, ROOT)
    return {**served, "TOKEN": token.strip()}


@pytest.fixture
def copied(shop: dict[str, str], mongodb_uri: str) -> Iterator[str]:
    """The name of another database, which is dropped in the end."""
    name = f"{shop['TIDINGS_DATABASE']}-copy"
    yield name
    with MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.drop_database(name)


def answered(shop: Mapping[str, str], name: str, **variables: Any) -> Any:
    """The data of an operation of README, by its name."""
    (document,) = (
        text for text in blocks("graphql") if re.search(rf"^\w+ {name}\b", text, re.MULTILINE)
    )
    body = {"query": document, "operationName": name, "variables": variables}
    request = urllib.request.Request(
        f"http://127.0.0.1:{shop['PORT']}/graphql",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {shop['TOKEN']}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer
    return answer["data"]


def test_the_past_and_a_branch_are_shown(shop: dict[str, str]) -> None:
    then = answered(shop, "Then")
    assert then["order"]["status"] == "DISPATCHED"
    assert then["orders"]["totalCount"] == 1
    (delivery,) = (
        version["position"]
        for version in then["history"]["nodes"]
        if version["events"] == ["StockReceived"]
    )
    begun = answered(shop, "Begin")["createBranch"]
    assert begun["errors"] == []
    branch = begun["branch"]["id"]
    changed = answered(shop, "Change", branch=branch, delivery=delivery)
    assert changed == {"dropEvents": {"errors": []}, "useVariant": {"errors": []}}
    compared = answered(shop, "Compare", branch=branch)
    diff = compared["branchDiff"]
    assert float(diff["revenue"][0]["difference"]["amount"]) < 0
    assert "POT-CLAY" in {stock["sku"] for stock in diff["stock"]}
    assert diff["refused"]
    assert len(compared["orders"]["nodes"]) == 8


def test_read_models_are_rebuilt_and_the_log_is_proved_and_moved(
    shop: dict[str, str], copied: str, tmp_path: Path
) -> None:
    (script,) = blocks("bash", section("The past, other pasts, and proof"))
    script = script.replace("TIDINGS_DATABASE=copy", f"TIDINGS_DATABASE={copied}")
    shown = in_shell(script, shop, tmp_path)
    assert "order_list: generation 2 is ready" in shown
    assert "all are equal" in shown
    assert "order_list: generation 2 is live" in shown
    assert "order_list: generation 1 is live" in shown
    assert shown.count(" 0 problems") == 2
    ends = re.findall(r"^The log ends at .*$", shown, re.MULTILINE)
    assert len(ends) == 4  # verified, exported, imported, verified there
    assert len(set(ends)) == 1
