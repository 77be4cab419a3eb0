"""What a text asks for: the verb that it orders with and what it is to be done to, by rules for English.

Self-Instruct (Wang et al. 2022, arXiv:2212.10560, figure 3) draws the root verb and its direct object, which a parser
finds. Here a list of verbs and of the words that end a noun phrase stand for the parser: no model, and wrong now and
then. For other languages the first words. Knows nothing about datasets.
"""

from __future__ import annotations

import re
import unicodedata

from distill_data.quality.words import words

VERBS, ASKING, _BEFORE, _ENDS, _SKIPPED = (
    frozenset(listed.split())
    for listed in (
        # that orders open with
        "act adapt add advise analyse analyze answer apply argue arrange ask assess assign autocomplete boil "
        "brainstorm break build calculate call categorise categorize change check choose cite clarify classify "
        "clean collect combine come comment compare compile complete compose compress compute condense construct "
        "continue contrast convert copy correct count craft create criticise critique debug decide declare decode "
        "decompose deduce define delete demonstrate derive describe design detect determine develop devise "
        "differentiate discuss distinguish divide draft draw edit elaborate eliminate encode enumerate estimate "
        "evaluate examine expand explain explore express extend extract fill filter find finish fix follow format "
        "formulate gather generate give group guess help highlight identify illustrate imagine implement improve "
        "infer insert interpret introduce invent judge justify label link list locate make map mark match measure "
        "mention merge modify move multiply name narrate negate number offer optimise optimize order organise "
        "organize outline paraphrase parse pick plan point pose predict prepare present produce proofread propose "
        "prove provide pull punctuate put quote rank rate read rearrange recall recommend record reduce refactor "
        "refine reformulate relate remove rename render reorder repeat rephrase replace reply report respond "
        "restate retell return reverse review revise rework rewrite round say schedule score search select separate "
        "set shorten show simplify simulate sketch soften solve sort specify spell split spot state structure "
        "substitute suggest sum summarise summarize supply support take teach tell test think trace transform "
        "translate turn update use validate verify visualise visualize weigh work write",
        # that questions open with
        "what which who whom whose when where why how is are do does did can could should would will",
        # that may stand before the verb
        "please kindly now then first next and you your i i'd want need would like to can could will",
        # that end a noun phrase
        "about above after against among around as at because before below between by during each for from how if "
        "in  including inside into like near of on onto or out over per since so such than that then through to "
        "toward towards  under until up using via what when where whether which while who whose why with within "
        "without and but is are  was were has have had can could should would will does do did",
        # of a noun phrase that are never its last
        "a an the this these those my your our his her its their some any all both each every several many few more "
        "most  one two three four five six seven eight nine ten exactly at least only me us you him them it here "
        "following  given above below",
    )
)
_IN_FRONT = 12
"""Words among which the verb must be."""
_STOPS = frozenset(".?!:")
_PHRASE = 7
"""Words in which a noun phrase must end."""
_TOKEN = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")


def root_of(text: str) -> tuple[str, str]:
    """(verb, object), in small letters. The object is "" where there is none.

    A question gives its first two words. So does a text that neither orders nor asks, in any language; where words
    are single characters, as in Chinese, the first two characters and the next two. ("", "") for a text without words.
    """
    tokens = [token.lower() for token in _TOKEN.findall(text[:400])]
    for place, token in enumerate(tokens[:_IN_FRONT]):
        if token in VERBS and all(before in _BEFORE or not before[0].isalnum() for before in tokens[:place]):
            return token, _object(tokens[place + 1 :])
        if token in ASKING and token not in _BEFORE:
            break
    first = _first_words(text)
    if first and first[0] not in ASKING:
        found = _later(tokens)
        if found:
            return found
    return (first[0], first[1]) if len(first) > 1 else (first[0] if first else "", "")


def _later(tokens: list[str]) -> tuple[str, str] | None:
    """What opens a later clause, after a mark: "Given a text, list the names", "A shop is open. How long?"."""
    for place, token in enumerate(tokens[1:], 1):
        if tokens[place - 1][0].isalnum():
            continue
        if token in VERBS and (place <= _IN_FRONT or tokens[place - 1] in _STOPS):
            return token, _object(tokens[place + 1 :])
        if token in ASKING and tokens[place - 1] in _STOPS and tokens[place + 1 :]:
            return token, tokens[place + 1]
    return None


def _object(tokens: list[str]) -> str:
    """The last word of the noun phrase that the tokens open with."""
    last = ""
    for token in tokens[:_PHRASE]:
        if (token in _ENDS and token not in _SKIPPED) or not token[0].isalnum():
            break
        if token not in _SKIPPED and not token.isdigit():
            last = token
    return last


def _first_words(text: str) -> list[str]:
    found = words(text[:400])[:4]
    if found and _ideographic(found[0]):
        return ["".join(found[:2]), "".join(found[2:4])]
    return found[:2]


def _ideographic(word: str) -> bool:
    return len(word) == 1 and "CJK" in unicodedata.name(word, "")
