"""What a report says of itself in each language: the fixed words, and how dates and times are written. How numbers are
written is in `_pdf_numbers.py`.

What a dataset declares (titles, descriptions, names of columns) is said as it was declared, and is not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from export_pipeline.model.report import Aggregate, Measure

Language = Literal["en", "de", "pt", "es"]

#: Between a number and its unit: narrow enough, and never the end of a line.
_SPACE = "\u00a0"


@dataclass(frozen=True)
class Words:
    """One language. Texts in braces are filled in by whoever uses them."""

    executive_summary: str
    detailed_results: str
    comparison: str
    key_figures: str
    trends_and_mix: str
    comparison_figures: str
    rows_heading: str
    appendix: str
    period: str
    since: str
    until: str
    filters: str
    definitions: str
    columns: str
    figure: str
    rows: str
    one_row: str
    several_rows: str
    snapshot: str
    export: str
    about: str
    subjects: str
    no_filters: str
    no_rows: str
    none: str
    others: str
    yes: str
    no: str
    first_rows: str
    all_rows: str
    shortened: str
    same_everywhere: str
    left_out: str
    charts_left_out: str
    or_: str
    reference: str
    interval: str
    too_few: str
    no_variation: str
    points: str
    best: str
    against: str
    best_note: str
    method: str
    count_of: str
    sum_of: str
    mean_of: str
    share_of: str
    the_rows: str
    rows_with: str
    rows_where: str
    decimal: str
    group: str
    percent: str
    months: str
    long_date: str
    short_date: str
    axis_date: str
    axis_month: str


WORDS: dict[Language, Words] = {
    "en": Words(
        executive_summary="Executive summary",
        detailed_results="Detailed results",
        comparison="Comparison",
        key_figures="Key figures",
        trends_and_mix="Charts",
        comparison_figures="Figures side by side",
        rows_heading="Rows",
        appendix="Appendix",
        period="Period",
        since="from {day}",
        until="until {day}",
        filters="Filters",
        definitions="Definitions",
        columns="Columns",
        figure="Figure",
        rows="Rows",
        one_row="1 row",
        several_rows="{n} rows",
        snapshot="Data as of",
        export="Export",
        about="About",
        subjects="{n} different values of {column}",
        no_filters="None: all rows.",
        no_rows="There are no rows.",
        none="(none)",
        others="Others ({n})",
        yes="yes",
        no="no",
        first_rows="The first {shown} of {all} rows; the data file (CSV, Parquet, XLSX …) holds all.",
        all_rows="All rows ({all}).",
        shortened="Texts longer than {n} characters are shortened and end with “…”.",
        same_everywhere="The same in every row shown: ",
        left_out="Not shown, for want of width: {columns}.",
        charts_left_out="Charts left out here: {n}; the detailed results have them.",
        or_="or",
        reference="reference",
        interval="95%",
        too_few="too few",
        no_variation="no variation",
        points="pp",
        best="Best variant",
        against="against {name}",
        best_note="Best is, in each metric, the variant with the highest {value}; the highest of several is likely to "
        "be overestimated.",
        method="Compared with the first. Shares: Wilson’s 95% interval; two-sided z-test of two proportions, "
        "or Fisher’s exact test where a cell’s expected count is under 5. Means: Student’s 95% interval; "
        "Welch’s t-test. Each figure’s p-values are corrected by Holm for the number of comparisons. "
        "▲ higher and ▼ lower mark p < 0.05. Sums and counts are not tested.",
        count_of="Number of {rows}.",
        sum_of="Sum of {column} over {rows}.",
        mean_of="Mean of {column} over {rows}, without empty values.",
        share_of="Share of {rows}, in which {column} is {values}.",
        the_rows="the rows",
        rows_with="the rows with a value in {column}",
        rows_where="{rows} in which {column} is {values}",
        decimal=".",
        group=",",
        percent="%",
        months="January February March April May June July August September October November December",
        long_date="{day} {month} {year}",
        short_date="%Y-%m-%d",
        axis_date="{day} {short}",
        axis_month="{short} {year}",
    ),
    "de": Words(
        executive_summary="Kurzbericht",
        detailed_results="Ergebnisse im Einzelnen",
        comparison="Vergleich",
        key_figures="Kennzahlen",
        trends_and_mix="Diagramme",
        comparison_figures="Kennzahlen im Vergleich",
        rows_heading="Zeilen",
        appendix="Anhang",
        period="Zeitraum",
        since="ab {day}",
        until="bis {day}",
        filters="Filter",
        definitions="Definitionen",
        columns="Spalten",
        figure="Kennzahl",
        rows="Zeilen",
        one_row="1 Zeile",
        several_rows="{n} Zeilen",
        snapshot="Datenstand",
        export="Export",
        about="Gegenstand",
        subjects="{n} verschiedene Werte von {column}",
        no_filters="Keine: alle Zeilen.",
        no_rows="Es gibt keine Zeilen.",
        none="(ohne)",
        others="Übrige ({n})",
        yes="ja",
        no="nein",
        first_rows="Die ersten {shown} von {all} Zeilen; die Datendatei (CSV, Parquet, XLSX …) enthält alle.",
        all_rows="Alle Zeilen ({all}).",
        shortened="Texte über {n} Zeichen sind gekürzt und enden mit „…“.",
        same_everywhere="In jeder gezeigten Zeile gleich: ",
        left_out="Aus Platzgründen nicht gezeigt: {columns}.",
        charts_left_out="Hier weggelassene Diagramme: {n}; die Ergebnisse im Einzelnen haben sie.",
        or_="oder",
        reference="Bezug",
        interval="95 %",
        too_few="zu wenige",
        no_variation="keine Streuung",
        points="PP",
        best="Beste Variante",
        against="gegen {name}",
        best_note="Die beste ist bei jeder Metrik die Variante mit dem höchsten Wert ({value}); der höchste von "
        "mehreren wird leicht überschätzt.",
        method="Verglichen mit der ersten Spalte. Anteile: 95-%-Intervall nach Wilson; zweiseitiger z-Test zweier "
        "Anteile, bei einer erwarteten Häufigkeit unter 5 der exakte Test nach Fisher. Mittelwerte: 95-%-Intervall "
        "nach Student; t-Test nach Welch. Die p-Werte jeder Kennzahl sind nach Holm für die Zahl der Vergleiche "
        "korrigiert. ▲ höher und ▼ niedriger: p < 0,05. Summen und Anzahlen werden nicht getestet.",
        count_of="Anzahl: {rows}.",
        sum_of="Summe von {column}: {rows}.",
        mean_of="Mittelwert von {column}: {rows}, ohne leere Werte.",
        share_of="Anteil: {rows}, davon mit {column} gleich {values}.",
        the_rows="die Zeilen",
        rows_with="die Zeilen mit einem Wert in {column}",
        rows_where="{rows} mit {column} gleich {values}",
        decimal=",",
        group=".",
        percent=_SPACE + "%",
        months="Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        long_date="{day}. {month} {year}",
        short_date="%d.%m.%Y",
        axis_date="{day}. {short}",
        axis_month="{short} {year}",
    ),
    "pt": Words(
        executive_summary="Resumo executivo",
        detailed_results="Resultados detalhados",
        comparison="Comparação",
        key_figures="Indicadores",
        trends_and_mix="Gráficos",
        comparison_figures="Indicadores lado a lado",
        rows_heading="Linhas",
        appendix="Apêndice",
        period="Período",
        since="desde {day}",
        until="até {day}",
        filters="Filtros",
        definitions="Definições",
        columns="Colunas",
        figure="Indicador",
        rows="Linhas",
        one_row="1 linha",
        several_rows="{n} linhas",
        snapshot="Dados de",
        export="Exportação",
        about="Sobre",
        subjects="{n} valores diferentes de {column}",
        no_filters="Nenhum: todas as linhas.",
        no_rows="Não há linhas.",
        none="(nenhum)",
        others="Outros ({n})",
        yes="sim",
        no="não",
        first_rows="As primeiras {shown} de {all} linhas; o ficheiro de dados (CSV, Parquet, XLSX …) contém todas.",
        all_rows="Todas as linhas ({all}).",
        shortened="Os textos com mais de {n} caracteres são abreviados e terminam em “…”.",
        same_everywhere="Igual em todas as linhas mostradas: ",
        left_out="Não mostradas por falta de largura: {columns}.",
        charts_left_out="Gráficos omitidos aqui: {n}; estão nos resultados detalhados.",
        or_="ou",
        reference="referência",
        interval="95%",
        too_few="muito poucos",
        no_variation="sem variação",
        points="p.p.",
        best="Melhor variante",
        against="contra {name}",
        best_note="A melhor é, em cada métrica, a variante com o valor mais alto ({value}); o mais alto de vários "
        "tende a ser sobrestimado.",
        method="Comparado com a primeira coluna. Proporções: intervalo de 95% de Wilson; teste z bilateral de duas "
        "proporções, ou teste exato de Fisher quando uma contagem esperada é inferior a 5. Médias: intervalo de 95% de "
        "Student; teste t de Welch. Os valores p de cada indicador são corrigidos por Holm pelo número de comparações. "
        "▲ mais alto e ▼ mais baixo: p < 0,05. Somas e contagens não são testadas.",
        count_of="Número de linhas: {rows}.",
        sum_of="Soma de {column}: {rows}.",
        mean_of="Média de {column}: {rows}, sem valores vazios.",
        share_of="Proporção: {rows}, das quais com {column} igual a {values}.",
        the_rows="as linhas",
        rows_with="as linhas com valor em {column}",
        rows_where="{rows} com {column} igual a {values}",
        decimal=",",
        group=".",
        percent="%",
        months="janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        long_date="{day} de {month} de {year}",
        short_date="%d/%m/%Y",
        axis_date="{day} {short}",
        axis_month="{short} {year}",
    ),
    "es": Words(
        executive_summary="Resumen ejecutivo",
        detailed_results="Resultados detallados",
        comparison="Comparación",
        key_figures="Indicadores clave",
        trends_and_mix="Gráficos",
        comparison_figures="Indicadores en paralelo",
        rows_heading="Filas",
        appendix="Apéndice",
        period="Período",
        since="desde el {day}",
        until="hasta el {day}",
        filters="Filtros",
        definitions="Definiciones",
        columns="Columnas",
        figure="Indicador",
        rows="Filas",
        one_row="1 fila",
        several_rows="{n} filas",
        snapshot="Datos del",
        export="Exportación",
        about="Acerca de",
        subjects="{n} valores distintos de {column}",
        no_filters="Ninguno: todas las filas.",
        no_rows="No hay filas.",
        none="(ninguno)",
        others="Otros ({n})",
        yes="sí",
        no="no",
        first_rows="Las primeras {shown} de {all} filas; el archivo de datos (CSV, Parquet, XLSX …) las tiene todas.",
        all_rows="Todas las filas ({all}).",
        shortened="Los textos de más de {n} caracteres están abreviados y terminan en «…».",
        same_everywhere="Igual en todas las filas mostradas: ",
        left_out="No se muestran por falta de ancho: {columns}.",
        charts_left_out="Gráficos omitidos aquí: {n}; están en los resultados detallados.",
        or_="o",
        reference="referencia",
        interval=f"95{_SPACE}%",
        too_few="muy pocos",
        no_variation="sin variación",
        points="p. p.",
        best="Mejor variante",
        against="frente a {name}",
        best_note="La mejor es, en cada métrica, la variante con el valor más alto ({value}); el más alto de varios "
        "tiende a sobrestimarse.",
        method="Comparado con la primera columna. Proporciones: intervalo del 95 % de Wilson; prueba z bilateral de "
        "dos proporciones, o prueba exacta de Fisher si una frecuencia esperada es menor que 5. Medias: intervalo del "
        "95 % de Student; prueba t de Welch. Los valores p de cada indicador se corrigen según Holm por el número de "
        "comparaciones. ▲ más alto y ▼ más bajo: p < 0,05. Las sumas y los recuentos no se prueban.",
        count_of="Número de filas: {rows}.",
        sum_of="Suma de {column}: {rows}.",
        mean_of="Media de {column}: {rows}, sin valores vacíos.",
        share_of="Proporción: {rows}, de las cuales con {column} igual a {values}.",
        the_rows="las filas",
        rows_with="las filas con valor en {column}",
        rows_where="{rows} con {column} igual a {values}",
        decimal=",",
        group=".",
        percent=_SPACE + "%",
        months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        long_date="{day} de {month} de {year}",
        short_date="%d/%m/%Y",
        axis_date="{day} {short}",
        axis_month="{short} {year}",
    ),
}


def long_date(words: Words, day: date) -> str:
    """A date in running text."""
    return words.long_date.format(day=day.day, month=words.months.split()[day.month - 1], year=day.year)


def moment(words: Words, at: datetime) -> str:
    """A date and a time in running text."""
    return f"{long_date(words, at)}, {at:%H:%M}"


def axis_label(words: Words, day: date, *, monthly: bool, year: bool = False) -> str:
    """A date on an axis: the day, perhaps with its year, or the month and year."""
    pattern = words.axis_month if monthly else words.axis_date + (" {year}" if year else "")
    return pattern.format(day=day.day, short=words.months.split()[day.month - 1][:3], year=day.year)


def definition(words: Words, measure: Measure) -> str:
    """What a figure is, in one sentence."""
    rows = words.rows_with.format(column=measure.column) if measure.column else words.the_rows
    if measure.aggregate in (Aggregate.SUM, Aggregate.MEAN):
        rows = words.the_rows
    column, values = measure.only or ("", ())
    named = f" {words.or_} ".join(values)
    if measure.aggregate is Aggregate.SHARE:
        return words.share_of.format(rows=rows, column=column, values=named)
    if column:
        rows = words.rows_where.format(rows=rows, column=column, values=named)
    pattern = {Aggregate.COUNT: words.count_of, Aggregate.SUM: words.sum_of, Aggregate.MEAN: words.mean_of}
    return pattern[measure.aggregate].format(rows=rows, column=measure.column)
