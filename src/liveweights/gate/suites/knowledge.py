"""Common facts, as sentences to finish: small models know many of them, damaged ones forget."""

from __future__ import annotations

from liveweights.gate.suites.questions import Questions, begins
from liveweights.gate.suites.suite import Card, Case

CARD = Card(
    name="knowledge",
    version="1",
    title="Finish a sentence that states a common fact",
    licence="CC0-1.0",
    source="written for liveweights",
    seconds=60,
    margin=0.05,
    max_tokens=12,
)

# Per sentence: subject and what finishes it; "/" parts what is as right.
FACTS: dict[str, str] = {
    "The capital of {} is": """
        France=Paris; Germany=Berlin; Italy=Rome; Spain=Madrid; Portugal=Lisbon; Greece=Athens;
        Austria=Vienna; Poland=Warsaw; Hungary=Budapest; Sweden=Stockholm; Norway=Oslo;
        Denmark=Copenhagen; Finland=Helsinki; Ireland=Dublin; Russia=Moscow; Ukraine=Kyiv/Kiev;
        Turkey=Ankara; Egypt=Cairo; Kenya=Nairobi; Japan=Tokyo; China=Beijing; India=New Delhi;
        South Korea=Seoul; Thailand=Bangkok; Vietnam=Hanoi; Indonesia=Jakarta; Iran=Tehran;
        Iraq=Baghdad; Canada=Ottawa; Mexico=Mexico City; Cuba=Havana; Brazil=Brasilia/Brasília;
        Argentina=Buenos Aires; Chile=Santiago; Peru=Lima; Colombia=Bogota/Bogotá;
        Australia=Canberra; New Zealand=Wellington; the United Kingdom=London; Belgium=Brussels
        """,
    "The chemical symbol for {} is": """
        hydrogen=H; helium=He; carbon=C; nitrogen=N; oxygen=O; sodium=Na; magnesium=Mg; chlorine=Cl;
        potassium=K; calcium=Ca; iron=Fe; copper=Cu; zinc=Zn; silver=Ag; gold=Au; lead=Pb
        """,
    "The opposite of {} is": """
        hot=cold; big=small/little; up=down; fast=slow; old=young/new; rich=poor; light=dark/heavy;
        happy=sad; wet=dry; full=empty; early=late; strong=weak; open=closed/close; day=night;
        north=south; left=right; love=hate; true=false; war=peace; buy=sell
        """,
    "A baby {} is called a": """
        dog=puppy; cat=kitten; cow=calf; horse=foal; sheep=lamb; goat=kid; lion=cub; kangaroo=joey;
        duck=duckling; deer=fawn
        """,
    "The plural of {} is": """
        child=children; foot=feet; tooth=teeth; mouse=mice; man=men; woman=women; goose=geese;
        leaf=leaves; knife=knives; city=cities
        """,
    "The past tense of {} is": """
        go=went; see=saw; eat=ate; run=ran; write=wrote; take=took; give=gave; buy=bought;
        think=thought; begin=began
        """,
    "The colour of {} is": """
        grass=green; snow=white; blood=red; coal=black; a lemon=yellow; the clear sky=blue
        """,
    "The number that comes after {} is": """
        one=two; four=five; six=seven; nine=ten; eleven=twelve; nineteen=twenty
        """,
    "The month after {} is": """
        January=February; March=April; May=June; July=August; September=October; November=December
        """,
    "{} is made of": "ice=water; glass=sand/silica; paper=wood; bread=flour/wheat",
    "The author of {} is": """
        Hamlet=William Shakespeare/Shakespeare; 1984=George Orwell/Orwell; Emma=Jane Austen/Austen;
        War and Peace=Leo Tolstoy/Tolstoy; The Odyssey=Homer; Don Quixote=Miguel de Cervantes
        """,
    "The planet {} is": "closest to the Sun=Mercury; known for its rings=Saturn",
}


def read_cases() -> list[Case]:
    cases: list[Case] = []
    for sentence, listed in FACTS.items():
        for fact in listed.split(";"):
            subject, _, targets = " ".join(fact.split()).partition("=")
            question = sentence.format(subject)
            cases.append(
                Case(
                    id=question,
                    prompt=question[0].upper() + question[1:],
                    target=targets.split("/"),
                    stop=["\n", "."],
                )
            )
    return cases


def open_knowledge() -> Questions:
    return Questions(CARD, read_cases(), begins)
