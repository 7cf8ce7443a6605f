"""The language of conditions: what a text means, and that any other text is refused with its place."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export_pipeline.ledger.rows import asked
from export_pipeline.model.condition import (
    MOST_DEPTH,
    WITH_LIST,
    WITHOUT_VALUE,
    Comparison,
    Group,
    Joint,
    Operator,
    Tree,
    Value,
    comparisons_of,
    parse_condition,
    text_of,
)
from export_pipeline.model.errors import Rejected
from export_pipeline.model.job import ExportRequest

PRICE = Comparison(("price",), Operator.GT, (Value("100"),))
NEW = Comparison(("status",), Operator.EQ, (Value("new"),))
NO_EMAIL = Comparison(("email",), Operator.IS_NULL)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("price gt 100", PRICE),
        ("  price   GT\t100 ", PRICE),
        ("status eq 'new'", Comparison(("status",), Operator.EQ, (Value("new", quoted=True),))),
        ("title eq two rooms, bright", Comparison(("title",), Operator.EQ, (Value("two rooms, bright"),))),
        ("title eq O'Fallon", Comparison(("title",), Operator.EQ, (Value("O'Fallon"),))),
        ("title eq 'it''s'", Comparison(("title",), Operator.EQ, (Value("it's", quoted=True),))),
        ('title eq "or (and)"', Comparison(("title",), Operator.EQ, (Value("or (and)", quoted=True),))),
        ("title eq ''", Comparison(("title",), Operator.EQ, (Value("", quoted=True),))),
        (
            "status in a, b c ,'d,e',a",
            Comparison(("status",), Operator.IN, (Value("a"), Value("b c"), Value("d,e", True))),
        ),
        ("status not_in (a,b)", Comparison(("status",), Operator.NOT_IN, (Value("a"), Value("b")))),
        ("price between 1 and 5", Comparison(("price",), Operator.BETWEEN, (Value("1"), Value("5")))),
        ("price between 1,5", Comparison(("price",), Operator.BETWEEN, (Value("1"), Value("5")))),
        ("email is_null", NO_EMAIL),
        ('p.utm."a.b ""c""" eq 1', Comparison(("p", "utm", 'a.b "c"'), Operator.EQ, (Value("1"),))),
        ("price gt 100 and status eq new", Group(Joint.AND, (PRICE, NEW))),
        (
            "price gt 100 or status eq new AND email is_null",
            Group(Joint.OR, (PRICE, Group(Joint.AND, (NEW, NO_EMAIL)))),
        ),
        (
            "(price gt 100 or(status eq new))and(email is_null)",
            Group(Joint.AND, (Group(Joint.OR, (PRICE, NEW)), NO_EMAIL)),
        ),
        (
            "price between 1 and 5 and status eq new",
            Group(Joint.AND, (Comparison(("price",), Operator.BETWEEN, (Value("1"), Value("5"))), NEW)),
        ),
        ("orange eq android", Comparison(("orange",), Operator.EQ, (Value("android"),))),
    ],
)
def test_condition_when_written_then_means(text: str, tree: Tree) -> None:
    assert parse_condition(text) == tree


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "character 1: a property is expected"),
        ("price", "there is no operator; there are: eq, ne, gt, "),
        ("price above 5", "character 7: price: there is no operator 'above'; there are: eq"),
        ("price >= 5", "no operator '>='"),
        ("price eq", "price: a value is expected; a text without characters is written ''"),
        ("price eq and status eq new", "price: a value is expected"),
        ("status in a,,b", "status: a value is expected"),
        ("status in (a,b", "status: a comma or \\) is expected"),
        ("title eq 'open", "the quote ' is not closed"),
        ("title eq 'it's'", "the value ends with its quote '; inside, it is written twice"),
        ("title eq 'a','b'", "and, or, or the end is expected"),
        ("price between 5", "between takes two values, as in between 1 and 5"),
        ("price between 5 or 6", "between takes two values"),
        ("(price gt 5", "and, or, or \\) is expected"),
        ("price gt 5)", "a value that holds a parenthesis goes into quotes"),
        ("price gt 5 and", "a property is expected"),
        ("email is_null yes", "and, or, or the end is expected"),
        ("title matches ^(a|b)$", "goes into quotes"),
        ("(" * (MOST_DEPTH + 1) + "a eq 1" + ")" * (MOST_DEPTH + 1), "groups may lie 20 deep"),
        (" or ".join(["a eq 1"] * 101), "may have 100 conditions"),
        ("a eq " + "x" * 200_000, "can have 200,000"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_condition_when_wrong_then_refused_with_its_place(text: str, said: str) -> None:
    with pytest.raises(Rejected, match=said):
        parse_condition(text)


def test_condition_when_wrong_then_no_value_is_repeated() -> None:
    for text in (
        "email jane@example.com",
        "email eq 'jane@example.com'x",
        "(email eq jane@example.com",
        "email = jane@example.com",
    ):
        with pytest.raises(Rejected) as caught:
            parse_condition(text)
        assert "jane" not in str(caught.value)


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
QUOTED = ANY_TEXT.map(lambda text: Value(text, quoted=True))
BARE = (
    st.from_regex(r"[A-Za-z0-9_$%=;'\\é-]{1,8}", fullmatch=True)
    .filter(lambda text: text.lower() not in ("and", "or") and text[0] not in "'\"")
    .map(Value)
)


@st.composite
def comparisons(draw: st.DrawFn) -> Comparison:
    operator = draw(st.sampled_from(list(Operator)))
    least, most = (0, 0) if operator in WITHOUT_VALUE else (1, 4) if operator in WITH_LIST else (1, 1)
    if operator is Operator.BETWEEN:
        least = most = 2
    values = draw(st.lists(st.one_of(QUOTED, BARE), min_size=least, max_size=most, unique=operator in WITH_LIST))
    return Comparison(tuple(draw(st.lists(KEYS, min_size=1, max_size=3))), operator, tuple(values))


TREES = st.recursive(
    comparisons(),
    lambda parts: st.builds(Group, st.sampled_from(Joint), st.lists(parts, min_size=2, max_size=3).map(tuple)),
    max_leaves=6,
)


@settings(derandomize=True, max_examples=120, deadline=None)
@given(TREES)
def test_condition_when_told_then_reads_the_same(tree: Tree) -> None:
    assert parse_condition(text_of(tree, ())) == tree


@settings(derandomize=True, max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [*Operator, "and", "or", "(", ")", ",", "'", '"', ".", " ", "price", "''", "not", "--", ";"]
            ),
            ANY_TEXT,
        ),
        max_size=12,
    )
)
def test_condition_when_any_text_then_understood_or_refused(parts: list[str]) -> None:
    for text in (" ".join(parts), "".join(parts)):
        try:
            tree = parse_condition(text)
        except Rejected as error:
            assert "the condition is wrong at character" in str(error)
        else:
            assert parse_condition(text_of(tree, ())) == tree


def test_condition_when_a_column_is_hidden_then_told_without_its_value() -> None:
    tree = parse_condition("(email eq 'jane@example.com' or email is_null) and price gt 5")
    told = text_of(tree, {("email",)})
    assert told == "((email eq (not told) or email is_null) and price gt 5)"


@pytest.mark.parametrize("key", ["zoe@example.com", "+15550100123", "٠٥٥ ٠١٢ ٣٤٥٦", "zoe%40example.com", "a＠b"])
def test_condition_when_a_key_of_what_is_hidden_may_be_personal_then_told_without_it(key: str) -> None:
    tree = parse_condition(f'opens."{key}".at is_not_null and opens.q1 eq 5')
    paths = {item.path for item in comparisons_of(tree)}
    assert text_of(tree, paths) == "(opens.(not told).at is_not_null and opens.q1 eq (not told))"
    with pytest.raises(Rejected) as wrong:
        parse_condition(f'opens."{key}" = 5')
    assert "opens.(not told): there is no operator '='" in str(wrong.value)


def test_audit_when_there_are_conditions_then_tells_columns_and_no_values() -> None:
    conditions = ("contacts.email eq 'jane@example.com' and contacts.outcome eq x", "detail.jane.doe eq 5")
    entry = asked(ExportRequest("contacts:csv,calls", "x", conditions=conditions, sort=("calls.status desc",)))
    assert entry["conditions"] == ["contacts.email", "contacts.outcome", "detail"]
    assert entry["sort"] == ["calls.status desc"]
    assert "jane" not in str(entry)
    cuts = ExportRequest(
        "calls as done , calls AS lost:csv", "x", conditions=("lost.duration_seconds gt 5", "status eq x")
    )
    assert asked(cuts)["conditions"] == ["lost.duration_seconds", "status"]
