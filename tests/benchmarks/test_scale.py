"""The arithmetic of docs/scale.md, and what the page says of it."""

from pathlib import Path

from benchmarks.scale import Assumptions, Needs, Patient, a_patient, fullest, money, needs

PAGE = (Path(__file__).parents[2] / "docs" / "scale.md").read_text()
COUNTRY = Assumptions(people=1_400_000_000, departments=100_000)


def test_a_patient_causes_what_the_page_says() -> None:
    patient = a_patient(patients=400)
    assert 3 < patient.commands < 5
    assert patient.commands < patient.events < 6
    assert 700 < patient.command_bytes < 1_100
    assert 1_500 < patient.event_bytes < 2_500
    assert patient.compressed < 0.2
    assert 0.1 < patient.busiest_hour < 0.3


def test_departments_fill_partitions_as_the_page_says() -> None:
    for partitions in (12, 96):
        most, largest = fullest(COUNTRY.departments, partitions)
        assert f"| {partitions} | {most:.2f} | {largest:.2f} |" in PAGE


def test_what_a_country_needs_is_what_the_page_says() -> None:
    need = needs(COUNTRY, Patient(3.58, 3.98, 856, 1_982, 0.098, 0.1721), fullest(COUNTRY.departments, 96)[0])
    for part, name in (("allocators", "allocators"), ("Redis", "Redis"), ("Kafka", "Kafka, three copies")):
        backlog, alone = need.cores[part]
        assert f"| {name} | {backlog:.1f} … {alone:.1f} cores" in PAGE
    assert f"{need.redis_gb:.0f} GB | a cluster" in PAGE
    assert f"{need.log_gb_day:.0f} GB a day and copy" in PAGE
    dollars = money(COUNTRY, need)
    assert f"cores ${round(dollars['cores'], -1):.0f}" in PAGE
    assert f"a year of the log ${round(dollars['a year of the log'], -1):,.0f}" in PAGE


def test_twice_the_people_need_twice_as_much() -> None:
    patient = Patient(4, 4, 900, 2_000, 0.1, 0.2)
    one, two = (needs(COUNTRY._replace(people=people), patient, 1.0) for people in (10**8, 2 * 10**8))
    assert isinstance(one, Needs)
    assert (two.peak, two.redis_gb, two.log_gb_day) == (2 * one.peak, 2 * one.redis_gb, 2 * one.log_gb_day)
    assert one.peak == 10**8 * 3 / 300 * 4 * 0.2 / 3600 * 5
