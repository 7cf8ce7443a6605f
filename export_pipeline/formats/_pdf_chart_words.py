"""What a report says of its charts in each language, beside the fixed words of `_pdf_words.py`."""

from __future__ import annotations

from dataclasses import dataclass

from export_pipeline.formats._figures import Series
from export_pipeline.formats._pdf_numbers import number
from export_pipeline.formats._pdf_words import WORDS, Words
from export_pipeline.model.report import Bucket


@dataclass(frozen=True)
class ChartWords:
    """One language. Texts in braces are filled in by whoever uses them."""

    first: str
    firsts: str
    not_drawn: str
    weeks: str
    months: str


#: By the other words of the same language.
_CHART_WORDS: dict[Words, ChartWords] = {
    WORDS["en"]: ChartWords(
        first="first of {all}",
        firsts="first {shown} of {all}",
        not_drawn="Charts left out of all reports: {n}; the data file (CSV, Parquet, XLSX …) has their rows.",
        weeks="here by week",
        months="here by month",
    ),
    WORDS["de"]: ChartWords(
        first="erste von {all}",
        firsts="erste {shown} von {all}",
        not_drawn="In allen Berichten weggelassene Diagramme: {n}; die Datendatei (CSV, Parquet, XLSX …) enthält "
        "deren Zeilen.",
        weeks="hier je Woche",
        months="hier je Monat",
    ),
    WORDS["pt"]: ChartWords(
        first="primeira de {all}",
        firsts="primeiras {shown} de {all}",
        not_drawn="Gráficos omitidos em todos os relatórios: {n}; o ficheiro de dados (CSV, Parquet, XLSX …) contém "
        "as suas linhas.",
        weeks="aqui por semana",
        months="aqui por mês",
    ),
    WORDS["es"]: ChartWords(
        first="primera de {all}",
        firsts="primeras {shown} de {all}",
        not_drawn="Gráficos omitidos en todos los informes: {n}; el archivo de datos (CSV, Parquet, XLSX …) tiene sus "
        "filas.",
        weeks="aquí por semana",
        months="aquí por mes",
    ),
}


def chart_words(words: Words) -> ChartWords:
    """Those of the same language."""
    return _CHART_WORDS[words]


def title_in_time(words: Words, series: Series) -> str:
    """The title of a chart in time, which says so where its points are not what the dataset declares."""
    if series.period is None:
        return series.chart.title
    said = chart_words(words).weeks if series.chart.bucket is Bucket.WEEK else chart_words(words).months
    return f"{series.chart.title} ({said})"


def in_part(words: Words, shown: int, total: int) -> str:
    """What stands behind the title of a chart that shows the first of its bars, if it does; else nothing."""
    if shown >= total:
        return ""
    pattern = chart_words(words).first if shown == 1 else chart_words(words).firsts
    return f" ({pattern.format(shown=number(words, shown), all=number(words, total))})"
