"""Numbers, dates and currencies as documents write them."""

from datetime import date
from decimal import Decimal

import pytest
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from switchgear.invoice.amounts import (
    count_currencies,
    decimal_mark,
    decimal_mark_of,
    find_dates,
    is_ambiguous,
    month_first,
    parse_amount,
    parse_currency,
    parse_date,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1.234,56", "1234.56"),
        ("1,234.56", "1234.56"),
        ("1'234.50", "1234.50"),
        ("1’234.50", "1234.50"),
        ("1 234,56", "1234.56"),
        ("1\u202f234,56", "1234.56"),
        ("12.345.678,9", "12345678.9"),
        ("1.234.567", "1234567"),
        ("0,79 €", "0.79"),
        ("€ 0.79", "0.79"),
        ("EUR 49,99", "49.99"),
        ("CHF 1'234.50", "1234.50"),
        ("$4.11", "4.11"),
        ("5,-", "5"),
        ("5,--", "5"),
        ("100", "100"),
        ("0.125", "0.125"),
    ],
)
def test_an_amount_is_read_as_it_is_written(text: str, value: str) -> None:
    assert parse_amount(text) == Decimal(value)


@pytest.mark.parametrize(
    "text", ["-12,00", "−12,00", "–12,00", "12,00-", "12,00 -", "(12,00)", "-€ 12,00", "€ -12,00", "- 12,00 EUR"]
)
def test_a_minus_sign_is_never_lost(text: str) -> None:
    assert parse_amount(text) == Decimal("-12.00")


@pytest.mark.parametrize(
    ("text", "mark", "value"),
    [("1.234", ",", "1234"), ("1.234", ".", "1.234"), ("1,234", ".", "1234"), ("1,234", ",", "1.234")],
)
def test_the_documents_own_mark_decides_what_the_digits_leave_open(text: str, mark: str, value: str) -> None:
    assert parse_amount(text, mark) == Decimal(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "abc", "19%", "1.2.3", "12,34,5", "2018-03-05", "1/2", "DE123"])
def test_what_is_no_amount_gives_none(text: str) -> None:
    assert parse_amount(text) is None


@given(
    cents=st.integers(-(10**11), 10**11), language=st.sampled_from(["de", "en", "fr", "it", "es", "nl", "de_CH", "sv"])
)
def test_a_formatted_number_reads_back_as_itself(cents: int, language: str) -> None:
    value = Decimal(cents) / 100
    text = format_decimal(value, "#,##0.00", locale=language)
    assert parse_amount(text) == value
    assert parse_amount(text, decimal_mark_of(language)) == value


@given(value=st.integers(0, 10**9), language=st.sampled_from(["de", "en", "fr", "it", "nl", "de_CH"]))
def test_a_whole_number_with_groups_reads_back_with_its_languages_mark(value: int, language: str) -> None:
    assert parse_amount(format_decimal(value, "#,##0", locale=language), decimal_mark_of(language)) == value


def test_a_document_shows_its_decimal_mark() -> None:
    assert decimal_mark(["Menge 1.000", "Summe 1.234,56", "19,00"]) == ","
    assert decimal_mark(["Qty 1,000", "Total 1,234.56"]) == "."
    assert decimal_mark(["Total 1.234", "5"]) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("05.03.2018", date(2018, 3, 5)),
        ("5.3.18", date(2018, 3, 5)),
        ("8-9-2022", date(2022, 9, 8)),
        ("2018-03-05", date(2018, 3, 5)),
        ("2018-03-05T10:00:00", date(2018, 3, 5)),
        ("03/04/2023", date(2023, 4, 3)),
        ("03/20/2023", date(2023, 3, 20)),
        ("5. März 2018", date(2018, 3, 5)),
        ("19 april 2014", date(2014, 4, 19)),
        ("August 3 , 2014", date(2014, 8, 3)),
        ("1er février 2020", date(2020, 2, 1)),
        ("12 de marzo de 2020", date(2020, 3, 12)),
        ("3rd May 1999", date(1999, 5, 3)),
        ("1 gennaio 2021", date(2021, 1, 1)),
    ],
)
def test_a_date_is_read_day_first(text: str, value: date) -> None:
    assert parse_date(text) == value


@pytest.mark.parametrize("text", ["31.02.2018", "00.123.456.7", "1.2.3.4", "12.13.2018", "2018", "Mai", "5.3.1850"])
def test_what_is_no_date_gives_none(text: str) -> None:
    assert parse_date(text) is None


@given(day=st.dates(date(1970, 1, 1), date(2069, 12, 31)))
def test_every_day_with_dots_reads_back_as_itself(day: date) -> None:
    assert parse_date(f"{day:%d.%m.%Y}") == day
    assert parse_date(f"{day:%d.%m.%y}") == day
    assert parse_date(day.isoformat()) == day


@given(day=st.dates(date(1970, 1, 1), date(2069, 12, 31)))
def test_a_month_first_document_swaps_slashes_only(day: date) -> None:
    assert parse_date(f"{day:%m/%d/%Y}", american=True) == day
    assert parse_date(f"{day:%d.%m.%Y}", american=True) == day


def test_a_document_is_month_first_only_when_it_proves_it() -> None:
    assert month_first(["Date 03/20/2023", "Due 04/04/2023"])
    assert not month_first(["Date 03/04/2023"])
    assert not month_first(["Date 20/03/2023", "Due 03/20/2023"])
    assert is_ambiguous("03/04/2023")
    assert not is_ambiguous("04/04/2023")
    assert not is_ambiguous("03.04.2023")


def test_month_names_of_other_languages_are_not_known() -> None:
    assert parse_date("5 maart 2018", languages=("nl",)) == date(2018, 3, 5)
    assert parse_date("5 maart 2018", languages=("en",)) is None


def test_dates_are_found_from_left_to_right_with_their_place() -> None:
    text = "vom 01.03.2018 bis 4. April 2018"
    assert [(value, text[start:end]) for value, start, end in find_dates(text)] == [
        (date(2018, 3, 1), "01.03.2018"),
        (date(2018, 4, 4), "4. April 2018"),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [("EUR", "EUR"), ("€", "EUR"), ("(DEM)", "DEM"), ("Fr.", "CHF"), ("eur", "EUR"), ("Euro", "EUR"), ("US$", "USD")],
)
def test_a_currency_is_a_code_a_sign_or_a_name(text: str, code: str) -> None:
    assert parse_currency(text) == code


@pytest.mark.parametrize("text", ["", "XYZZY", "Summe", "QQQ", "12"])
def test_what_is_no_currency_gives_none(text: str) -> None:
    assert parse_currency(text) is None


def test_words_that_are_codes_too_count_only_beside_an_amount() -> None:
    assert count_currencies(["ALL TOP TRY PEN"]) == {}
    assert count_currencies(["PEN 12.00"])["PEN"] == 1
    assert count_currencies(["Total 12,00 €", "EUR"]).most_common(1)[0][0] == "EUR"
