"""Languages: told by script or by common words, and nothing is said where the text is too short to tell."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.errors import UsageError
from distill_data.quality import make_check
from distill_data.quality.language import FUNCTION_WORDS, LANGUAGES, language_of
from distill_data.quality.words import words

SENTENCES = [
    ("en", "The baker opens her shop at six, and most of the bread is sold before noon."),
    ("en", "List three reasons why a small garden can be good for the people who live near it."),
    ("de", "Der Bäcker öffnet seinen Laden um sechs, und das meiste Brot ist vor dem Mittag verkauft."),
    ("de", "Nenne drei Gründe, warum ein kleiner Garten gut für die Nachbarn sein kann."),
    ("fr", "La boulangère ouvre sa boutique à six heures, et le pain est vendu avant midi."),
    ("fr", "Donnez trois raisons pour lesquelles un petit jardin est utile à ceux qui habitent dans la rue."),
    ("es", "La panadera abre su tienda a las seis y casi todo el pan se vende antes del mediodía."),
    ("es", "Escribe tres razones por las que un jardín pequeño es bueno para los vecinos."),
    ("it", "Il fornaio apre il negozio alle sei e quasi tutto il pane è venduto prima di mezzogiorno."),
    ("it", "Scrivi tre motivi per cui un piccolo giardino è utile a chi abita nella strada."),
    ("pt", "A padeira abre a loja às seis e quase todo o pão é vendido antes do meio-dia."),
    ("pt", "Escreva três razões pelas quais um pequeno jardim é bom para os vizinhos da rua."),
    ("nl", "De bakker opent zijn winkel om zes uur en het meeste brood is voor de middag verkocht."),
    ("nl", "Noem drie redenen waarom een kleine tuin goed is voor de mensen in de straat."),
    ("zh", "面包师六点开门，大部分面包中午以前就卖完了。"),
    ("ja", "パン屋は六時に店を開け、ほとんどのパンは昼前に売り切れます。"),
    ("ko", "빵집은 여섯 시에 문을 열고 빵은 대부분 정오 전에 팔립니다."),
    ("ru", "Пекарь открывает лавку в шесть, и почти весь хлеб продан до полудня."),
    ("ar", "يفتح الخباز متجره في السادسة ويباع معظم الخبز قبل الظهر."),
    ("el", "Ο φούρναρης ανοίγει το μαγαζί στις έξι και το ψωμί πουλιέται πριν το μεσημέρι."),
    ("he", "האופה פותח את החנות בשש ורוב הלחם נמכר לפני הצהריים."),
    ("hi", "बेकर छह बजे दुकान खोलता है और ज़्यादातर रोटी दोपहर से पहले बिक जाती है।"),
    ("th", "คนทำขนมปังเปิดร้านตอนหกโมงและขนมปังส่วนใหญ่ขายหมดก่อนเที่ยง"),
]


@pytest.mark.parametrize(("code", "sentence"), SENTENCES)
def test_a_sentence_is_told_and_passes_for_its_language_alone(code: str, sentence: str) -> None:
    assert language_of(sentence) == code
    for wanted in LANGUAGES:
        said = make_check("language", {"is": wanted})({"text": sentence}, {})
        assert said == (None if wanted == code else "language")


def test_every_language_is_tried() -> None:
    assert {code for code, _ in SENTENCES} == set(LANGUAGES)


@pytest.mark.parametrize("text", ["", "42", "Paris", "Bonjour", "东京大学", "Москва", "👍" * 50, "x = y + 1"])
def test_a_short_text_is_of_no_language_and_passes(text: str) -> None:
    assert language_of(text) is None
    for wanted in LANGUAGES:
        assert make_check("language", {"is": wanted})({"text": text}, {}) is None


def test_another_script_is_another_language_even_where_it_shows_none() -> None:
    assert language_of("Apfel, Birne, Kirsche") is None
    polish = "Piekarz otwiera sklep bardzo wcześnie rano."
    assert language_of(polish) is None
    assert make_check("language", {"is": "zh"})({"text": polish}, {}) == "language"
    assert make_check("language", {"is": "en"})({"text": polish}, {}) is None


def test_fenced_code_is_left_out() -> None:
    code = "\n```python\nfor the_line in the_file:\n    print(the_line, is_it, not_it)\n```\n"
    chinese = "下面的代码逐行打印文件的内容，请试一试。"
    assert language_of(chinese + code) == "zh"
    assert make_check("language", {"is": "zh", "field": "answer"})({"answer": chinese + code}, {}) is None
    assert language_of(code) is None


def test_a_word_of_another_language_within_does_not_count() -> None:
    assert language_of("请用英文单词 apple 造一个完整的句子，然后翻译成中文。") == "zh"
    assert language_of("The word 苹果 means apple, and it is used for the fruit.") == "en"


def test_function_words_are_written_as_texts_have_them() -> None:
    for table in FUNCTION_WORDS.values():
        assert all(words(word) == [word] for word in table)


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    assert language_of(text) in {None, *LANGUAGES}
    assert make_check("language", {"is": "en"})({"text": text}, {}) in (None, "language")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (None, "needs 'is' to be a name"),
        ({"is": "english"}, "no language 'english'"),
        ({"is": "en", "to": "de"}, "no setting of check 'language' called 'to'"),
        ("en", "needs a mapping with field, is"),
    ],
)
def test_a_wrong_argument_is_named(args: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make_check("language", args)
