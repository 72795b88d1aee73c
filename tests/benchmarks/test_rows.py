"""Every claim is about something that is measured, and what needs no clock to be true of the workloads holds."""

import sys

import pytest

from benchmarks import bodies, measurements, memory, report, startup
from benchmarks.__main__ import options_of
from benchmarks.claims import CLAIMS, judge, selected
from benchmarks.process import measure

MEASURED = {m.name: m for m in (*measurements.REFERENCES, *measurements.WORKLOADS)}


def test_what_claims_name_is_measured():
    named = {claim.measurement for claim in CLAIMS}
    references = {claim.reference[0] for claim in CLAIMS if claim.reference}
    assert named | references <= {*MEASURED, measurements.PEER}
    assert references <= set(report.REFERENCE_NAMES)
    assert set(MEASURED) == (named | references) - {measurements.PEER}


def test_the_first_part_of_a_row_names_all_its_rows():
    assert {claim.row for claim in selected(["P1"])} == {"P1", "P1-map"}
    assert {claim.row for claim in selected(["P2"])} == {"P2", "P2-failing", "P2-kill"}
    assert {claim.row for claim in selected(["P6"])} == {"P6-threads", "P6-processes", "P6-cpu"}
    assert {claim.row for claim in selected(["P9"])} == {"P9-start", "P9-idle"}
    assert [claim.row for claim in selected(["P6-cpu"])] == ["P6-cpu"]
    assert selected([]) == list(CLAIMS)
    with pytest.raises(SystemExit):
        options_of(["--only", "P"])


def test_a_reference_of_p6_stands_right_before_its_workload():
    order = list(MEASURED)
    for place in bodies.SIZES:
        assert order.index(place) == order.index(f"{place} pool") + 1


@pytest.mark.parametrize("name", [name for place in bodies.SIZES for name in (f"{place} pool", place)])
def test_p6_measures_both_sides(name: str):
    module, arguments = MEASURED[name].module, MEASURED[name].arguments
    figures = measure(["-m", module, "--n", "20", *arguments])
    assert figures["bodies"] == 20
    assert figures["per_s"] > 0


def test_bodies_that_use_the_processor_run_on_both_sides():
    figures = measure(["-m", MEASURED["cpu"].module, "--n", "13"])
    assert figures["per_s"] > 0
    assert figures["pool_per_s"] > 0


def test_map_measures_a_rate():
    assert measure(["-m", MEASURED["map"].module, "--n", "50", *MEASURED["map"].arguments])["per_s"] > 0


def test_an_idle_engine_is_measured_for_two_seconds_at_least():
    figures = measure(["-m", MEASURED["idle"].module, "--n", "1"])
    assert figures["wall_s"] >= 2
    assert figures["cpu_percent"] > 0


def test_startup_measures_imports_and_the_command():
    figures = measure(["-m", MEASURED["startup"].module, "--n", "1"])
    assert figures["processes"] == startup.LEAST
    assert all(figures[name] > 0 for name in ("asyncio_import_ms", "import_ms", "asyncio_process_ms"))
    assert figures["help_process_ms"] > 0


def test_neither_the_import_nor_the_help_brings_in_a_front_end():
    assert startup.unwanted(["-c", "import fanfold"]) == []
    assert startup.unwanted(startup.command_line()) == []


def test_an_unwanted_import_is_found_and_is_one_too_many():
    found = startup.unwanted(["-c", "import rich.text"])
    assert "rich" in found
    assert "rich.text" in found
    (claim,) = (claim for claim in CLAIMS if claim.figure == "unwanted")
    assert judge(claim, [{"startup": {"unwanted": 0}}]).text == "reached"
    assert judge(claim, [{"startup": {"unwanted": len(found)}}]).text == "not reached"


def test_importing_asyncio_imports_no_fanfold():
    modules = {module for _, module in startup.imported(["-c", "import asyncio"])}
    assert "asyncio" in modules
    assert "fanfold" not in modules


def test_spinning_bodies_double_too():
    assert [bodies.spin(i) for i in (0, 3)] == [bodies.double(i) for i in (0, 3)]


def test_the_command_stands_beside_the_interpreter():
    program, option = startup.command_line()
    assert option == "--help"
    assert program.rpartition("/")[0] == sys.executable.rpartition("/")[0]


@pytest.mark.parametrize("name", ["fold", "fold failing"])
def test_a_fold_measures_its_rate_its_memory_and_what_it_stores(name: str):
    figures = measure(["-m", MEASURED[name].module, "--n", "200", *MEASURED[name].arguments])
    assert figures["bodies"] == 200
    assert figures["per_s"] > 0
    assert figures["overhead_per_child"] > figures["payload_per_child"] > 0
    assert figures["rss_growth_mib"] >= max(0, figures["rss_second_half_mib"])
    highest_mib = max(mib for _, mib in figures["rss_curve"])
    assert highest_mib == pytest.approx(figures["rss_before_mib"] + figures["rss_growth_mib"], abs=0.2)


def test_a_curve_of_memory_keeps_the_highest_of_each_stretch():
    with memory.Memory() as watched:
        pass
    watched.before_mib, watched.samples = 10, [(s / 10, 10 + (s == 777) * 5 + (s == 3) * 2) for s in range(1000)]
    assert (watched.growth_mib, watched.growth_in_second_half_mib) == (5, 3)
    assert len(watched.curve) == memory.MOST_POINTS
    assert watched.curve[0] == [0.0, 12]
    assert watched.curve[77] == [77.0, 15]
