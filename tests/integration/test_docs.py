"""The documentation against the code: the generated reference is current, links lead somewhere, and files and functions that are named
exist."""
import re
import subprocess

import pytest

import support

ROOT = support.ROOT
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = ("src", "lua", "tests", "include", "tools", "examples", "docs")
REFERENCE = sorted(p.name for p in (ROOT / "docs" / "reference").glob("*.md"))


def title(page):
    return str(page.relative_to(ROOT))


def prose(page):
    """The page without its code blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)


def anchor(heading):
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", lambda m: m.group(1) or "", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def test_reference_is_what_the_tables_say(tmp_path):
    subprocess.run([support.BUILD / "tools" / "docgen" / "docgen", tmp_path], check=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == REFERENCE
    for name in REFERENCE:
        assert (tmp_path / name).read_text() == (ROOT / "docs" / "reference" / name).read_text(), f"docs/reference/{name}: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, part = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            broken.append(link)
        elif part and part not in [anchor(h) for h in re.findall(r"^#+ (.*)$", target.read_text(), re.M)]:
            broken.append(link)
    assert not broken


def expand(path):
    """`src/{proxy,control}` names two."""
    m = re.search(r"\{([^}]*)\}", path)
    if not m:
        return [path]
    return [p for part in m.group(1).split(",") for p in expand(path[:m.start()] + part + path[m.end():])]


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_named_files_exist(page):
    missing = []
    for code in re.findall(r"`([^`\n]+)`", prose(page)):
        path = code.split(":")[0]
        if not re.fullmatch(r"(?:%s)/[\w./{},*<>-]*" % "|".join(FOLDERS), path) or "<" in path:
            continue
        missing += [p for p in expand(path) if not list(ROOT.glob(p))]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_named_functions_exist(page):
    """`file.c:function()` is in that file; a bare `sb_…()` is somewhere in the source."""
    everything = "\n".join(p.read_text() for folder in ("src", "include", "tools", "lua") for p in (ROOT / folder).rglob("*.[chl]*")
                           if p.is_file() and "__pycache__" not in p.parts)
    wrong = []
    for file, function in re.findall(r"`((?:%s)/[\w./-]+\.\w+):([\w.]+)\(\)`" % "|".join(FOLDERS), page.read_text()):
        text = (ROOT / file).read_text() if (ROOT / file).exists() else ""
        name = re.escape(function)
        # C functions are defined at the margin; Lua's as members or locals.
        if not re.search(r"^%s\(|\bfunction (?:[\w.]+[.:])?%s\(" % (name, name), text, re.M):
            wrong.append(f"{file}:{function}")
    for function in re.findall(r"`(sb_\w+)\(\)`", page.read_text()):
        if not re.search(r"\b%s\b" % function, everything):
            wrong.append(function)
    assert not wrong


def test_every_module_has_a_page():
    """src/core/<module> and what stands beside it are explained in docs/internals."""
    modules = {p.name for p in (ROOT / "src" / "core").iterdir() if p.is_dir()} | {"proxy", "control", "supervisor", "lua", "tests", "bench"}
    pages = {p.stem for p in (ROOT / "docs" / "internals").glob("*.md")}
    assert not modules - pages - {"entities"}  # in the schema engine's page


def test_every_page_can_be_found():
    """docs/README.md leads to each page of docs."""
    index = (ROOT / "docs" / "README.md").read_text()
    lost = [title(p) for p in PAGES if p.is_relative_to(ROOT / "docs") and p.name != "README.md"
            and str(p.relative_to(ROOT / "docs")) not in index]
    assert not lost


def shell_commands(page):
    return [line for block in re.findall(r"^ *```sh\n(.*?)^ *```$", page.read_text(), flags=re.M | re.S) for line in block.splitlines()]


def test_first_pages_show_commands_that_are_tested():
    """test_walkthrough.py runs the commands of custom-plugin.md; the first pages show the same ones, in both languages."""
    def strip(commands):
        return [c.split("#")[0].strip() for c in commands]

    readme, japanese = strip(shell_commands(ROOT / "README.md")), strip(shell_commands(ROOT / "README.ja.md"))
    tested = strip(shell_commands(ROOT / "docs" / "custom-plugin.md"))
    assert readme == japanese
    shown = [c for c in readme if c.startswith(("curl", "luarocks"))]
    assert len(shown) == 7 and not set(shown) - set(tested)
