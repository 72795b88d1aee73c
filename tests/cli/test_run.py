"""`fanfold run`: results, errors and their exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_result_stands_alone_on_stdout(fanfold):
    done = fanfold("run", "app.py:doubles", "--input", '{"n": 10}')
    assert (done.returncode, done.stdout, done.stderr) == (0, "90\n", "")


@pytest.mark.parametrize("target", ["app.py:twice", "./app.py:twice", "app:twice"])
def test_an_app_is_found_by_file_and_by_module(fanfold, target):
    assert fanfold("run", target, "--input", "[21]").stdout == "42\n"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["app.py:twice", "--input", '{"n": "x"}'], "$.n"),
        (["app.py:twice", "--input", '{"m": 1}'], "m"),
        (["app.py:twice", "--input", "[1, 2]"], "twice(n: int)"),
        (["app.py:twice", "--input", '{"n": '], "--input is no JSON"),
        (["app.py:twice", "--input", "7"], "--input is an object"),
        (["app.py:twice", "--input", "[NaN]"], "NaN"),
        (["app.py:twise", "--input", "[1]"], "Did you mean 'twice'?"),
        (["app.py"], "write app.py:"),
        (["ap.py:twice"], "Did you mean 'app.py'?"),
        (["nowhere:twice"], "no module 'nowhere'"),
        (["a-b:twice"], "neither a file"),
        (["app.py:twice", "--input", "[1]", "--key", ""], "key"),
        (["app.py:twice", "--inptu", "[1]"], "--input"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error_that_says_what_is_wrong(fanfold, args, told):
    done = fanfold("run", *args)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("fanfold.db").exists()


def test_an_unknown_command_names_the_nearest(fanfold):
    done = fanfold("rnus", "list")
    assert done.returncode == 2
    assert "Did you mean 'runs'?" in done.stderr


def test_a_failed_run_shows_the_users_traceback_and_none_of_its_own(fanfold):
    done = fanfold("run", "app.py:broken", "--input", "[3]")
    assert (done.returncode, done.stdout) == (5, "")
    assert "broken (run 1) failed: ValueError: no 3" in done.stderr
    assert 'raise ValueError(f"no {n}")' in done.stderr
    assert "run_to_end" not in done.stderr


def test_a_key_gives_its_result_again_and_refuses_another_input(fanfold):
    once = ["run", "app.py:twice", "--key", "k", "--input"]
    assert [fanfold(*once, "[4]").stdout for _ in range(2)] == ["8\n", "8\n"]
    assert len(fanfold("runs", "list", "-o", "jsonl").stdout.splitlines()) == 1
    done = fanfold(*once, "[5]")
    assert (done.returncode, done.stdout) == (4, "")
    assert "run 1" in done.stderr


def test_the_store_option_stands_over_the_environment(fanfold):
    fanfold("run", "app.py:twice", "--input", "[1]", "--store", "sqlite:///a.db", FANFOLD_STORE="sqlite:///b.db")
    fanfold("run", "app.py:twice", "--input", "[1]", FANFOLD_STORE="sqlite:///c.db")
    assert [Path(name).exists() for name in ("a.db", "b.db", "c.db", "fanfold.db")] == [True, False, True, False]


@pytest.mark.parametrize("url", ["sqlite:///no/folder/a.db", "mysql://x"])
def test_a_store_that_cannot_be_reached_is_exit_code_8(fanfold, url):
    for done in (
        fanfold("run", "app.py:twice", "--input", "[1]", "--store", url),
        fanfold("runs", "list", "--store", url),
    ):
        assert (done.returncode, done.stdout) == (8, "")
        assert "Traceback" not in done.stderr


def test_a_store_that_is_in_use_names_the_process(fanfold):
    process = fanfold.start("run", "app.py:gated", "--input", '["x"]')
    fanfold.wait(process, lambda: Path("fanfold.db.lock").exists() and Path("fanfold.db-wal").exists())
    done = fanfold("run", "app.py:twice", "--input", "[1]")
    assert (done.returncode, done.stdout) == (8, "")
    assert str(process.pid) in done.stderr
    Path("gate").touch()
    assert process.communicate(timeout=30)[0] == '"x"\n'


def test_code_that_cannot_be_imported_is_shown_without_the_import_machinery(fanfold):
    Path("bad.py").write_text("import fanfold\n\ndef f():\n    return 1 / 0\n\nf()\n")
    done = fanfold("run", "bad.py:f")
    assert (done.returncode, done.stdout) == (1, "")
    assert "ZeroDivisionError" in done.stderr
    assert "return 1 / 0" in done.stderr
    assert "importlib" not in done.stderr
    assert "target.py" not in done.stderr


def test_an_error_of_syntax_is_shown_at_its_line(fanfold):
    Path("bad.py").write_text("x = (\n")
    done = fanfold("run", "bad.py:f")
    assert done.returncode == 1
    assert "SyntaxError" in done.stderr
    assert "importlib" not in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [("x = 1\n", "has no App"), ("from fanfold import App\na = App()\nb = App()\n", "2 apps (a, b)")],
)
def test_a_module_has_exactly_one_app(fanfold, text, told):
    Path("other.py").write_text(text)
    done = fanfold("run", "other.py:f")
    assert done.returncode == 2
    assert told in done.stderr


def test_one_app_under_two_names_is_one(fanfold):
    Path("other.py").write_text("from app import app\nagain = app\n")
    assert fanfold("run", "other.py:twice", "--input", "[2]").stdout == "4\n"


def test_a_file_called_like_a_module_in_use_takes_nobodys_place(fanfold):
    Path("json.py").write_text(Path("app.py").read_text())
    assert fanfold("run", "json.py:twice", "--input", "[2]").stdout == "4\n"


def test_the_command_is_also_a_module(fanfold):
    done = fanfold.spawn([sys.executable, "-m", "fanfold", "--version"])
    assert done.communicate(timeout=30)[0].startswith("fanfold, version ")


def test_help_imports_no_command_and_no_rich():
    program = (
        "import sys\nfrom fanfold.cli.main import fanfold\n"
        "fanfold.main(['--help'], standalone_mode=False)\n"
        "assert not {'rich', 'fanfold.cli.run', 'fanfold.cli.runs', 'fanfold.cli.doctor'} & sys.modules.keys()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert "doctor" in done.stdout


def test_a_result_is_json(fanfold):
    Path("shaped.py").write_text(
        "import dataclasses, datetime\nfrom fanfold import App\napp = App()\n"
        "@dataclasses.dataclass\nclass Day:\n    on: datetime.date\n"
        "@app.task\ndef after(day: Day) -> Day:\n    return Day(day.on + datetime.timedelta(1))\n"
    )
    done = fanfold("run", "shaped.py:after", "--input", '{"day": {"on": "2026-02-28"}}')
    assert done.stderr == ""
    assert json.loads(done.stdout) == {"on": "2026-03-01"}
