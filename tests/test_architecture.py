"""Import rules of the house: common <- client, server, strategies <- sim; rooms; no circles."""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("common", "client", "server", "strategies", "sim")
ALLOWED = {
    "common": {"common"},
    "client": {
        "common",
        "client",
        "server",
        "strategies",
    },  # of server, the phases alone: see below
    "strategies": {"common", "strategies"},
    "server": {"common", "server", "strategies"},
    "sim": set(PACKAGES),
}
MOST_LOOSE_FILES = 8
ROOMS = {
    "common/statistics": ("common.disclosure", "common.study"),
    "common/learning": ("common.disclosure", "common.study"),
    "common/evaluation": ("common.disclosure", "common.study"),
    "client/gate": (
        "client.app",
        "client.check",
        "client.commands",
        "client.data",
        "client.handlers",
        "client.imaging",
        "client.predict",
        "client.report",
        "client.training",
        "client.workspace",
    ),
}
"""Modules that the files of a room never import."""
PUBLIC_FLOWER = {"flwr", "flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy"}
"""Modules of Flower that its documentation describes; "flwr" is also the name of its program."""
PROGRAM = "server.phases"
"""A study as a deterministic program, which every site can run for itself."""
OUTSIDE = {
    *("datetime", "flwr", "io", "locale", "logging", "os", "pathlib", "platform", "random"),
    *("secrets", "shutil", "signal", "socket", "subprocess", "sys", "tempfile", "threading"),
    *("time", "uuid", "warnings"),
}
"""Modules that the program never imports: the machine, the clock, the network, chance."""
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def imported_packages(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names & set(PACKAGES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_its_package_may(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    forbidden = imported_packages(path.read_text(encoding="utf-8")) - ALLOWED[package]
    assert not forbidden, f"{path.relative_to(ROOT)} imports {sorted(forbidden)}"


def foreign_rooms(source: str) -> set[str]:
    """Names of the server's that are not of its phases."""
    names = {name for name in imported_names(source) if name.split(".")[0] == "server"}
    return {name for name in names if not f"{name}.".startswith(f"{PROGRAM}.")} - {"server"}


def of_package(*parts: str) -> list[Path]:
    return [path for path in FILES if path.relative_to(ROOT).parts[: len(parts)] == parts]


@pytest.mark.parametrize("parts", [("client",), ("server", "phases")], ids=".".join)
def test_of_the_server_a_site_and_the_program_import_the_phases_alone(parts: tuple[str]) -> None:
    for path in of_package(*parts):
        assert not foreign_rooms(path.read_text(encoding="utf-8")), path


def outside(source: str) -> set[str]:
    """Whatever the machine, and not the study or an answer, would decide."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found.update({node.func.id} & {"input", "open", "print"})
    return found & (OUTSIDE | {"input", "open", "print"})


def test_the_program_of_a_study_reads_no_file_and_no_clock() -> None:
    for path in of_package("server", "phases"):
        assert not outside(path.read_text(encoding="utf-8")), path


def test_the_rules_of_the_program_can_be_broken() -> None:
    source = "from server import report\nfrom server.phases import linear\nimport server.run.a\n"
    assert foreign_rooms(source) == {"server.report", "server.run.a"}
    assert foreign_rooms("from server.phases.linear import fit\nimport server.phases\n") == set()
    assert outside("def f():\n    from time import monotonic\n") == {"time"}
    assert outside("open('a')\npath.open()\n") == {"open"}


def test_the_rule_sees_an_import_hidden_in_a_function() -> None:
    assert imported_packages("def f():\n    from server.app import app\n") == {"server"}


def test_reading_a_study_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = "import sys, common.study.model, client.data.cohort; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def flower_internals(source: str) -> set[str]:
    """Modules of Flower that are imported, also by name in a string, and are not documented."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            whole = node.module == "flwr"
            names.update(f"flwr.{a.name}" if whole else node.module for a in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names.add(node.value)
    return {name for name in names if re.fullmatch(r"flwr(\.\w+)*", name)} - PUBLIC_FLOWER


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_adapter_imports_internals_of_flower(path: Path) -> None:
    if path.parent != ROOT / "common" / "flower":
        assert flower_internals(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    [
        "from flwr.proto.node_pb2 import NodeInfo",
        "def f():\n    import flwr.supercore.run",
        "from flwr import common",
        "from flwr.app.message import Array",
        "importlib.import_module('flwr.supernode.cli')",
    ],
)
def test_an_internal_of_flower_is_seen(source: str) -> None:
    assert flower_internals(source)
    assert not flower_internals("from flwr.app import Message\nfrom flwr.serverapp import Grid")


def test_commands_start_without_loading_what_takes_long_to_load() -> None:
    import subprocess
    import sys

    heavy = {"flwr", "matplotlib", "pandas", "sklearn", "torch"}
    heavy |= {"scipy.optimize", "scipy.special", "scipy.stats"}
    code = f"import sys, client.cli, server.cli; print(*{heavy} & set(sys.modules))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def imported_names(source: str) -> set[str]:
    """Dotted names of modules, and of what is taken from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return {name for name in names if name.split(".")[0] in PACKAGES}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_nothing_of_the_rooms_that_build_on_it(room: str) -> None:
    for path in (ROOT / room).rglob("*.py"):
        for name in imported_names(path.read_text(encoding="utf-8")):
            inside = any(name == other or name.startswith(f"{other}.") for other in ROOMS[room])
            assert not inside, f"{path.relative_to(ROOT)} imports {name}"


@pytest.mark.parametrize("package", ["client", "common", "server"])
def test_few_files_lie_outside_a_room(package: str) -> None:
    assert len(list((ROOT / package).glob("*.py"))) <= MOST_LOOSE_FILES


def private_names(source: str) -> set[str]:
    """Names with an underscore that are taken from modules of ours, also by patching them."""
    tree, found = ast.parse(source), set[str]()
    modules: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules.update((one.asname or one.name, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.update(f"{node.module}.{one.name}" for one in node.names)
            modules.update(
                (one.asname or one.name, f"{node.module}.{one.name}") for one in node.names
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            found.add(f"{modules.get(ast.unparse(node.value), '')}.{node.attr}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".setattr"):
            owner = modules.get(ast.unparse(node.args[0]), "")
            texts = (one.value for one in node.args[:2] if isinstance(one, ast.Constant))
            found.update(name for text in texts for name in (f"{owner}.{text}", str(text)))
    ours = {name for name in found if name.split(".")[0] in PACKAGES and known(name)}
    return {name for name in ours if re.fullmatch(r"_[^_].*", name.rsplit(".", 1)[-1])}


def known(name: str) -> bool:
    """Return whether a dotted name is that of something in a module, and not in a class."""
    path = ROOT.joinpath(*name.split(".")[:-1])
    return path.is_dir() or path.with_suffix(".py").is_file()


TESTS = sorted((ROOT / "tests").rglob("*.py"))


def test_no_file_takes_a_private_name_of_another() -> None:
    for path in [*FILES, *TESTS]:
        assert private_names(path.read_text(encoding="utf-8")) == set(), path


@pytest.mark.parametrize(
    "source",
    [
        "from client.handlers import _device",
        "from client import handlers\nhandlers._device(1)",
        "import client.handlers as h\nh._device(1)",
        "import client.handlers\nclient.handlers._device(1)",
        "from client import handlers\nmonkeypatch.setattr(handlers, '_device', 1)",
        "monkeypatch.setattr('client.handlers._device', 1)",
    ],
)
def test_a_private_name_is_seen(source: str) -> None:
    assert private_names(source) == {"client.handlers._device"}
    assert not private_names("from client.app import app\napp._x\nfrom flwr.app import _y")


def defined(path: Path) -> set[str]:
    """Return the names of a module: functions, classes, their methods and fields, constants."""
    found = set[str]()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def leads_somewhere(name: str) -> bool:
    """Return whether a dotted name is that of a package, a module, or something in a module."""
    path = ROOT.joinpath(*name.split("."))
    places = [path, *path.parents]
    for place in places[: places.index(ROOT)]:
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return set(path.relative_to(place).parts) <= defined(file)
    return False


def test_every_dotted_name_in_a_text_leads_somewhere() -> None:
    dotted = re.compile(rf"`((?:{'|'.join(PACKAGES)})(?:\.\w+)+)`")
    pages = [*FILES, *TESTS, *ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bench/*.py")]
    for page in pages:
        named = dotted.findall(page.read_text(encoding="utf-8"))
        assert [name for name in named if not leads_somewhere(name)] == [], page


def test_a_dotted_name_that_leads_nowhere_is_seen() -> None:
    assert leads_somewhere("common.disclosure.sums.check_levels")
    assert leads_somewhere("client.workspace.Workspace.privacy")
    assert not leads_somewhere("common.disclosure.levels")
    assert not leads_somewhere("common.dossier.disclosure.sums")


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {module_of(path): path for path in FILES}
    imports = {
        module: imported_modules(path.read_text(encoding="utf-8"), modules.keys()) - {module}
        for module, path in modules.items()
    }
    assert circle(imports) == []


def imported_modules(source: str, modules: Collection[str]) -> set[str]:
    """Modules that are imported, or that names are taken from."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else node.module)
    return found & set(modules)


def circle(imports: dict[str, set[str]]) -> list[str]:
    """Return the modules left after removing those without imports, again and again."""
    left = dict(imports)
    while done := {module for module, found in left.items() if not found & left.keys()}:
        left = {module: found for module, found in left.items() if module not in done}
    return sorted(left)


def test_a_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circle({"a": {"b"}, "b": set()}) == []
