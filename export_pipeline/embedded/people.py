"""People, firms and conversations that nobody is or had: made up the same way each time, with all that breaks files.

Phone numbers are in the range that is reserved for fiction (555-01xx in each North American area code), addresses at
example.com.
"""

from dataclasses import dataclass

_FIRST = (
    *("Ana", "João", "Zoë", "Müge", "Søren", "Łukasz", "Chloé", "Jürgen", "Iñaki", "Dvořák", "Aoife", "Nguyễn"),
    *("Maria", "Peter", "Fatima", "Kwame", "Olga", "小明", "さくら", "민준", "محمد", "Priya", "Sean", "Björk"),
)
_LAST = (
    *("Silva", "Müller", "O'Brien", "García-López", "van der Berg", "Šimić", "Ångström", "Costa, Jr.", "de la Cruz"),
    *("Smith", "Ferreira", "王", "田中", "김", "Öztürk", "Nowak", "Dubois", "D’Angelo", "Ivanova"),
)
_FIRMS = (
    *(
        "Café Luna, Inc.",
        'The "Best" Bakery',
        "Müller & Söhne GmbH",
        "=Equal Partners",
        "-Minus- Logistics",
        "@home Care",
    ),
    *(
        "+Plus Pharmacy",
        "Smile 😀 Dental",
        "Line One\nLine Two Ltd.",
        "東京商事",
        "Tab\tulated Data",
        "Acme; Sons | Co",
    ),
    *("Simple Shop", "O'Neil's Garage", "100% Organic", "'Quoted' Stores", "Ação & Reação Lda.", "👩‍👩‍👧 Family Foods"),
)
_OPENINGS = (
    "Agent: Good morning, am I speaking with {name}?\nContact: Yes, speaking.",
    "Agent: Hello {name}, this is {assistant} calling about your savings.\nContact: Hm, go on.",
    'Agent: Hi! Is this "{firm}"?\nContact: It is; how can I help you?',
    "Agent: Guten Tag, spreche ich mit {name}?\nContact: Ja, am Apparat – worum geht's?",
)
_MIDDLES = (
    "Agent: We have a term deposit at 3.5 % for twelve months, no fees.\nContact: And if I need it earlier?",
    "Agent: You told us last year that you thought about a deposit.\nContact: That's right, but prices rose since.",
    "Agent: It takes five minutes, and you can cancel within 14 days.\nContact: Fine, tell me more, please.",
    "Agent: May I ask three short questions?\nContact: Three, not four 😀.",
)
_ENDINGS = {
    True: "Contact: All right, let's do it. Obrigado!\nAgent: Thank you, you will get a letter; goodbye.",
    False: "Contact: No, thank you, not now.\nAgent: I understand, thank you for your time; goodbye.",
}
_WISHES = (
    *(
        "A better app",
        "Nothing, thanks",
        "=HYPERLINK? No idea, sorry",
        'Lower fees, "honest" terms',
        "もっと支店を",
        "-",
    ),
    *("More branches;\nlonger hours", "Ein höherer Zins", "0042", "Don't call again"),
)


@dataclass(frozen=True)
class Person:
    """Somebody made up."""

    name: str
    firm: str | None
    phone: str
    email: str | None


def person(number: int) -> Person:
    """The person of that number: the same each time, few of them alike."""
    first = _FIRST[number * 7 % len(_FIRST)]
    last = _LAST[number * 11 % len(_LAST)]
    area = 201 + number // 100 % 780
    return Person(
        name=f"{first} {last}",
        # 11 has no divisor in common with their number: none of them falls to the gaps alone.
        firm=None if number % 11 == 4 else _FIRMS[number * 5 % len(_FIRMS)],
        phone=f"+1{area}55501{number % 100:02}",
        email=None if number % 5 == 3 else f"contact{number:05}@example.com",
    )


def transcript(number: int, who: Person, assistant: str, agreed: bool) -> str:
    """What was said."""
    opening = _OPENINGS[number % len(_OPENINGS)].format(
        name=who.name, firm=who.firm or "the right number", assistant=assistant
    )
    return f"{opening}\n{_MIDDLES[number // 4 % len(_MIDDLES)]}\n{_ENDINGS[agreed]}"


def answers(number: int, agreed: bool) -> tuple[str, str, str | None]:
    """The answers to the survey's three questions; the last is not always given."""
    wish = None if number % 6 == 1 else _WISHES[number % len(_WISHES)]
    return "yes" if agreed else "no", str(1 + number % 5), wish
