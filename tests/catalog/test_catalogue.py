"""The shipped cards load, and everything that they refer to is there."""

from __future__ import annotations

import datetime
from importlib.metadata import version
from pathlib import Path

import pytest

from liveweights.catalog.card_files import FOLDER, CatalogueError
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.library import Library
from liveweights.catalog.price_library import bundled_prices
from liveweights.catalog.prices import ListedPrice
from liveweights.terms.facts import facts_of

KNOWN = Catalogue()
CARDS = list(KNOWN.cards.values())
KIMI = "moonshotai/Kimi-K2.5"


def with_files(home: Path, **files: str) -> Catalogue:
    folder = home / FOLDER
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)
    return Catalogue(home)


def test_every_shipped_part_loads() -> None:
    assert KNOWN.faults() == []
    assert len(CARDS) == 161
    assert len(KNOWN.licences) == 26
    assert len(KNOWN.products) == 40
    assert len(KNOWN.rules) == 19
    assert len(KNOWN.adoption) == 29


def test_no_shipped_file_overrides_another() -> None:
    assert not [card.hub_id for card in CARDS if KNOWN.overrides(card) or KNOWN.is_own(card)]


def test_everything_that_is_referred_to_is_there() -> None:
    makers = {card.maker for card in CARDS}
    countries = {card.country for card in CARDS} | {"RU", "IR", "KP"}
    for rule in KNOWN.rules:
        assert set(rule.makers) <= makers, rule.name
        assert set(rule.countries) <= countries, rule.name
        assert set(rule.licences) <= set(KNOWN.licences), rule.name
    prices = bundled_prices(datetime.date(2026, 11, 29))
    for card in CARDS:
        for one in card.hosted:
            assert prices.find(one.provider, one.model), (card.hub_id, one)
        assert len(list(KNOWN.lineage(card))) < 4


def test_each_fact_of_a_shipped_card_has_a_source() -> None:
    sources = {
        "licence": "licence", "released": "released", "parameters_total": "parameters",
        "layers": "config",
    }  # fmt: skip
    for card in CARDS:
        for member, source in sources.items():
            if getattr(card, member) is not None:
                assert getattr(card.sources, source), (card.hub_id, member)


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.hub_id)
def test_a_card_is_found_by_what_people_call_it(card) -> None:  # type: ignore[no-untyped-def]
    name = card.hub_id.partition("/")[2]
    for said in (card.hub_id, name, card.name, f"hf://{card.hub_id}@{'a' * 40}", name.upper()):
        assert KNOWN.find(said) is card


def test_a_fine_tune_shows_the_name_of_what_it_was_derived_from(tmp_path: Path) -> None:
    kimi = "licence = 'LicenseRef-Modified-MIT-Kimi-K2'\n"
    known = with_files(
        tmp_path,
        a=f"[[models]]\nhub_id = 'acme/one'\nname = 'One'\nbase = '{KIMI}'\n{kimi}"
        f"[[models]]\nhub_id = 'acme/two'\nname = 'Two'\nbase = 'acme/one'\n{kimi}"
        f"[[models]]\nhub_id = 'acme/own'\nname = 'Own'\nbase = 'acme/one'\n{kimi}"
        "display_name = 'Mine'\n"
        f"[[models]]\nhub_id = 'acme/far'\nname = 'Far'\nbase = 'nobody/knows'\n{kimi}",
    )
    for name, shown in {
        "one": "Kimi K2.5",
        "two": "Kimi K2.5",
        "own": "Mine",
        "far": "Far",
    }.items():
        duties = known.duties(known.find(f"acme/{name}"))
        (display,) = (duty for duty in duties if duty.kind == "display-name")
        assert f'show "{shown}" prominently' in display.text


def test_duties_are_those_of_the_licence_and_of_the_card() -> None:
    kimi = KNOWN.find(KIMI)
    (display,) = (duty for duty in KNOWN.duties(kimi) if duty.kind == "display-name")
    assert 'show "Kimi K2.5" prominently' in display.text
    assert {limit.metric for limit in display.limits} == {"monthly_active_users", "revenue"}
    kinds = [duty.kind for duty in KNOWN.duties(KNOWN.find("gpt-oss-20b"))]
    assert kinds == ["notice", "notice", "patent", "acceptable-use"]
    for card in CARDS:
        assert not any("{" in duty.text for duty in KNOWN.duties(card))


def test_without_a_known_licence_nothing_is_said_to_be_asked() -> None:
    card = KNOWN.find("Kimi-K3.1-Pro")
    assert KNOWN.licence(card) is None
    assert KNOWN.duties(card) == ()


def test_what_builds_on_a_model_is_found_by_it_and_by_its_base() -> None:
    assert "Cursor Composer 2" in {one.name for one in KNOWN.products_on(KNOWN.find(KIMI))}
    of_base = KNOWN.products_on(KNOWN.find("zai-org/GLM-4.5-Air"))
    assert "INTELLECT-3" in {one.name for one in of_base}


def test_rules_follow_where_a_model_was_derived_from() -> None:
    bonsai = KNOWN.find("prism-ml/Bonsai-8B-gguf")
    assert bonsai.country == "US"
    found = {one.rule.name: one.because for one in KNOWN.rules_on(bonsai)}
    assert found["No Adversarial AI Act (bill)"] == (
        "country CN of Qwen/Qwen3-8B, which it was derived from"
    )
    granite = KNOWN.find("granite-3.3-8b-instruct")
    assert all(one.rule.every_model for one in KNOWN.rules_on(granite))
    assert [one.rule.every_model for one in KNOWN.rules_on(bonsai)] == sorted(
        one.rule.every_model for one in KNOWN.rules_on(bonsai)
    )


def test_rules_are_also_about_a_base_that_has_no_card(tmp_path: Path) -> None:
    known = with_files(
        tmp_path,
        mine="[[models]]\nhub_id = 'acme/support-7b'\nname = 'Support 7B'\nmaker = 'Acme'\n"
        "country = 'DE'\nbase = 'Qwen/Qwen2.5-7B'\n"
        "[[models]]\nhub_id = 'acme/next'\nname = 'Next'\nbase = 'acme/support-7b'\n",
    )
    for name in ("acme/support-7b", "acme/next"):
        found = {one.rule.name: one.because for one in known.rules_on(known.find(name))}
        assert found["No Adversarial AI Act (bill)"] == (
            "country CN of Qwen/Qwen2.5-7B, which it was derived from"
        )


def test_rules_and_terms_know_the_same_origins() -> None:
    for card in CARDS:
        rules = {one.rule.name for one in KNOWN.rules_on(card)}
        origins = facts_of(KNOWN, card).origins
        for rule in KNOWN.rules:
            matched = rule.every_model or any(
                one.maker in rule.makers
                or one.country in rule.countries
                or one.licence in rule.licences
                for one in origins
            )
            assert (rule.name in rules) == matched, (card.hub_id, rule.name)


def test_a_home_s_file_overrides_a_member_and_says_so(tmp_path: Path) -> None:
    known = with_files(
        tmp_path,
        mine=f"[[models]]\nhub_id = '{KIMI.lower()}'\ncontext = 65536\nlicence = 'MIT'\n",
    )
    card = known.find(KIMI)
    assert (card.context, card.licence) == (65536, "MIT")
    assert card.hub_id == KIMI
    assert card.sources.context is None
    assert card.sources.config == KNOWN.find(KIMI).sources.config
    assert set(known.overrides(card)) == {"context", "licence"}
    assert known.overrides(card)["context"].name == "mine.toml"
    assert not known.is_own(card)
    assert KNOWN.find(KIMI).context == 262_144


def test_nothing_of_ours_vouches_for_what_a_home_says(tmp_path: Path) -> None:
    known = with_files(
        tmp_path,
        mine="[[models]]\nhub_id = 'Qwen/Qwen3-8B'\nparameters_total = 1\nlayers = 3\n"
        "licence = 'LicenseRef-Kimi-K3'\n"
        "[[licences]]\nid = 'LicenseRef-Kimi-K3'\nduties = []\n",
    )
    ours, card = KNOWN.find("Qwen/Qwen3-8B"), known.find("Qwen/Qwen3-8B")
    assert ours.licence_url
    assert ours.sources.parameters
    assert ours.sources.config
    assert card.licence_url is None
    assert (card.sources.parameters, card.sources.config, card.sources.licence) == (None,) * 3
    assert card.sources.released == ours.sources.released
    licence = known.licence(card)
    assert licence is not None
    assert KNOWN.licences[licence.id].verified != "unknown"
    assert licence.verified == "unknown"


def test_a_home_s_file_adds_a_model_with_its_licence(tmp_path: Path) -> None:
    known = with_files(
        tmp_path,
        a="[[models]]\nhub_id = 'acme/ours-7b'\nname = 'Ours'\nlicence = 'LicenseRef-Acme'\n",
        b="[[licences]]\nid = 'LicenseRef-Acme'\nname = 'Acme terms'\n"
        "duties = [{ kind = 'non-commercial', text = 'Only here.' }]\n",
    )
    card = known.find("ours")
    assert known.is_own(card)
    assert card.country is None
    assert [duty.kind for duty in known.duties(card)] == ["non-commercial"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[models]]\nhub_id = 'a/b'\nname = 'b'\nlicense = 'MIT'", "unknown field `license`"),
        ("[[models]]\nhub_id = 'a/b'\nname = 'b'\nlicence = 'mit'", "no licence 'mit'"),
        ("[[models]]\nhub_id = 'a/b'\nname = 'b'\nlicence = 'Apache 2.0'", "'Apache-2.0'?"),
        ("[[models]]\nhub_id = 'a/b'\nname = 'b'\ncountry = 'China'", "$.country"),
        ("[[models]]\nhub_id = 'a/b'\nname = 'b'\n[[models]]\nhub_id = 'A/B'", "twice"),
        ("[[models]]\nname = 'b'", "[[models]] 1 has no hub_id"),
        (
            "[[models]]\nhub_id = 'moonshotai/Kimi-K25'\ncontext = 1",
            "did you mean 'moonshotai/Kimi-K2.5'?",
        ),
        (f"[[models]]\nhub_id = '{KIMI}'\ncontext = 'long'", "$.context"),
        (f"[[models]]\nhub_id = '{KIMI}'\nsources = 'read by legal'", f"{KIMI}: Expected `object`"),
        (f"[[models]]\nhub_id = '{KIMI}'\nlicence = 'MIT'\nsources = 5", "$.sources"),
        (f"[[models]]\nhub_id = '{KIMI}'\nsources = []", "$.sources"),
        ("[[model]]\nhub_id = 'a/b'", "did you mean [[models]]?"),
        ("models = 3", "no list of tables"),
        ("[[models]\n", "cannot be read"),
        ("[[licences]]\nid = 'X'\nname = 'x'\nduties = [{ kind = 'pay', text = 'x' }]", "'pay'"),
        ("[[rules]]\nname = 'x'", "[[rules]] 1 (x)"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_entry(tmp_path: Path, text: str, said: str) -> None:
    known = with_files(tmp_path, mine=text)
    (fault,) = known.faults()
    assert said in fault
    assert str(tmp_path / FOLDER / "mine.toml") in fault
    with pytest.raises(CatalogueError):
        _ = (known.licences, known.cards, known.rules)


def test_a_fault_names_the_file_that_gave_the_member(tmp_path: Path) -> None:
    entry = f"[[models]]\nhub_id = '{KIMI}'\n"
    known = with_files(
        tmp_path, a=f"{entry}sources = 'text'", b=f"{entry}licence = 'MIT'", c=f"{entry}vocab = 1"
    )
    (fault,) = known.faults()
    assert fault.startswith(f"{tmp_path / FOLDER / 'a.toml'}: [[models]] {KIMI}: ")


def test_what_editors_hide_is_not_read_and_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    known = with_files(tmp_path, mine="[[models]]\nhub_id = 'a/b'\nname = 'b'\n")
    (tmp_path / FOLDER / ".#mine.toml").symlink_to("me@host.123:456")
    (tmp_path / FOLDER / ".mine.toml").write_text("half")
    assert known.faults() == []
    assert "a/b" in known.cards
    (tmp_path / FOLDER / "theirs.toml").symlink_to("nothing")
    (fault,) = Catalogue(tmp_path).faults()
    assert "theirs.toml cannot be read" in fault


def test_a_base_is_found_whatever_its_case(tmp_path: Path) -> None:
    mine = "[[models]]\nhub_id = 'a/{0}'\nname = '{0}'\nbase = '{1}'\n"
    named = {"b": KIMI.upper(), "c": "A/B", "d": "a/E", "e": "A/d"}
    known = with_files(tmp_path, mine="".join(mine.format(*one) for one in named.items()))
    kimi = [KIMI, *(one.hub_id for one in known.lineage(known.find(KIMI)))]
    assert [one.hub_id for one in known.lineage(known.find("a/c"))] == ["a/b", *kimi]
    assert [one.hub_id for one in known.lineage(known.find("a/d"))] == ["a/e"]  # in a circle
    assert known.products_on(known.find("a/b")) == [
        one for one in known.products if one.hub_id == KIMI
    ]


def test_every_fault_is_named(tmp_path: Path) -> None:
    known = with_files(
        tmp_path,
        a="[[models]]\nhub_id = 'a/b'\nname = 'b'\nlicence = 'none'\n",
        b="[[models]]\nhub_id = 'a/c'\nname = 'c'\nfree = true\n[[products]]\nname = 'p'\n",
        c="[[models]]\nname = 'nobody'\n",
        d="no toml",
    )
    assert len(known.faults()) == 5
    with pytest.raises(CatalogueError, match="and 3 more: `liveweights catalogue check`"):
        _ = known.cards


def test_a_price_of_the_card_overrules_the_list(tmp_path: Path) -> None:
    listed = bundled_prices(datetime.date(2026, 11, 29))
    before = KNOWN.prices(KNOWN.find(KIMI), listed)
    assert {price.provider for price in before} == {"moonshotai", "fireworks", "openrouter"}
    assert {price.version for price in before} == {f"genai-prices {version('genai-prices')}"}
    known = with_files(
        tmp_path,
        mine=f"[[models]]\nhub_id = '{KIMI}'\n[[models.prices]]\nprovider = 'moonshotai'\n"
        "model = 'kimi-k2.5'\ninput = 0.1\noutput = 0.2\nsince = 2026-12-01\n",
    )
    assert Library(tmp_path, datetime.date(2026, 11, 30)).prices == listed
    now = Library(tmp_path, datetime.date(2026, 12, 1)).prices
    ours, *others = known.prices(known.find(KIMI), now)
    assert ours == ListedPrice(
        provider="moonshotai",
        model="kimi-k2.5",
        input=0.1,
        output=0.2,
        since=datetime.date(2026, 12, 1),
    )
    assert [price.provider for price in others] == ["fireworks", "openrouter"]


def test_a_card_is_found_by_what_a_provider_sells() -> None:
    (sold, *_) = (card for card in CARDS if card.hosted)
    one = sold.hosted[0]
    assert KNOWN.find_sold(one.provider.upper(), one.model.upper()) is not None
    assert KNOWN.find_sold(one.provider, "no-such-model") is None


def test_a_card_is_found_by_what_it_says_that_it_costs(tmp_path: Path) -> None:
    known = with_files(
        tmp_path,
        mine="[[models]]\nhub_id = 'a/b'\nname = 'b'\n[[models.prices]]\nprovider = 'P'\n"
        "model = 'sold-so'\ninput = 1\n",
    )
    assert known.find_sold("p", "sold-so") is known.find("a/b")
