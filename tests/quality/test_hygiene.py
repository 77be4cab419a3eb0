"""Repeated passages, set phrases, foul words and personal data: what is one, and what only looks like it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill_data.quality.hygiene import BOILERPLATE, FOUL, PERSONAL, make_phrases, personal, repeated_share

EVERY = list(PERSONAL)
DATA = {
    "email": [
        "Write to jane.doe+news@mail.acme-corp.co.uk.",
        "请写信到zhang_wei@mail.cn联系我们。",
        "Kontakt:a@b.de",
        "ＭＡＩＬ：wang@qq.com",
    ],
    "phone": [
        "Call (415) 555-2671 today.",
        "Call 415-555-2671.",
        "415.555.2671",
        "+1 415 555 2671",
        "+14155552671",
        "+1.415.555.2671",
        "+44 (0)20 7946 0958",
        "Tel. 020 7946 0958",
        "电话010-12345678，找王先生",
        "我的手机号是13812345678。",
        "手机：138 1234 5678",
        "手机１３８１２３４５６７８",
        "0171/1234567",
    ],
    "card": [
        "4111 1111 1111 1111",
        "card 5500-0055-5555-5559!",
        "信用卡号4111111111111111，有效期",
        "378282246310005",
        "3782 822463 10005",
        "6222021234567890128",
    ],
    "iban": ["DE89 3704 0044 0532 0130 00", "to GB82WEST12345698765432 BANK", "ES91 2100 0418 4502 0005 1332 CODE"],
    "resident-id": ["身份证号11010519491231002X。", "440308199901101512"],
    "ssn": ["SSN 123-45-6789."],
    "ip": ["from 81.2.69.142.", "服务器81.2.69.142上", "81.2.69.142:8080"],
    "key": [
        "sk-proj-abcdefghij0123456789ABCD",
        "密钥AKIAIOSFODNN7EXAMPLE是",
        "ghp_0123456789abcdefghijABCDEFGHIJ0123",
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----",
    ],
}
FALSE_FRIENDS = [
    # versions, chapters, addresses of nobody
    "version 1.2.3", "Version 4.18.2.1", "v1.2.3.4", "版本8.1.2.3", "see section 3.2.1.4", "foo-8.8.4.4.tar.gz",
    "127.0.0.1", "192.168.1.17", "10.0.0.8", "172.16.0.1", "203.0.113.9", "0.0.0.0", "255.255.255.0", "300.1.2.3",
    "OID 1.3.6.1.4.1.311", "Windows 10.0.19041.1234",
    # dates and times
    "2024-01-15", "15.01.2024", "01/15/2024", "2024-01-15 10:30:00", "2024-01-15T10:30:00.123456Z", "1999-2004",
    "2024年01月15日", "20240115103000", "1700000000000", "1700000000000000000", "19:45:30.1234",
    # ISBN, UUID, hashes, file names
    "ISBN 978-3-16-148410-0", "ISBN 0-306-40615-2", "9780306406157", "978-0-306-40615-7",
    "550e8400-e29b-41d4-a716-446655440000", "12345678-1234-1234-1234-123456789012",
    "d41d8cd98f00b204e9800998ecf8427e", "IMG_20240115_103000.jpg", "report-2024-01.final.pdf", "icon@2x.png",
    # numbers
    "3.141592653589793", "0.1234567890123456", "-2.718281828459045", "123,456,789.01", "120 000 000", "123.456.789",
    "1 234 567 890 123", "100 200 300 400", "4 8 15 16 23 42", "[4, 5, 3, 9, 1, 4, 8, 8, 0, 3, 4, 3, 6, 4, 6, 7]",
    "1e-10", "+0.123456789", "+12.345678901", "15000000000", "4111111111111111.5", "4111 1111 1111 1112",
    "0000 0000 0000 0000",
    "555-0199", "000-12-3456", "12-34-5678", "13812340000000", "110105194912310021",
    # code
    "pip install numpy==2.4.6", "npm i lodash@4.17.21", "@app.route('/x')", "git@github.com:org/repo.git",
    "x = a@b", "user@example.com", "joe@mail.example.org", "root@localhost", "me@host.test", "f(415)",
    "arr[123][456][7890]",
    "sk-spinner-fading-circle-wrapper", "task-0123456789abcdefghij0", "hf_hub_download(repo_id)", "AKIAIOSFODNN7",
    "-----BEGIN CERTIFICATE-----", "DE00 3704 0044 0532 0130 00", "AB12 CDEF GHIJ", "ID 1234 5678",
    "RFC 2119", "10.1000/182", "https://x.org/2024/01/15/123456789", "#ff00aa", "E = mc2", "第12章第3节",
]  # fmt: skip


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in DATA.items() for text in texts])
def test_personal_data_is_found_as_what_it_is(kind: str, text: str) -> None:
    assert personal(text, EVERY) == kind
    assert personal(text, [kind]) == kind
    assert personal(f"前文{text}" if text[0].isdigit() else f"Before: {text}", [kind]) == kind


@pytest.mark.parametrize("text", FALSE_FRIENDS)
def test_what_only_looks_like_personal_data_is_none(text: str) -> None:
    for shape in ("{}", "It says {}.", "它是{}。", '"{}"', "({})", "{}, or\n{}"):
        assert personal(shape.format(text, text), EVERY) is None, shape


def test_every_kind_has_an_example() -> None:
    assert DATA.keys() == PERSONAL.keys()


def test_only_the_kinds_that_are_asked_for_are_found() -> None:
    assert personal("jane@acme.com 415-555-2671", ["phone"]) == "phone"
    assert personal("jane@acme.com", ["phone", "ip"]) is None


@given(st.text(), st.text("0123456789+-. ()@abcXDE89:/", max_size=80))
def test_any_text_has_a_kind_or_none(text: str, numbers: str) -> None:
    assert personal(text + numbers, EVERY) in [None, *EVERY]


UNITS = [
    "a",
    "a@",
    "a.",
    "a@a.",
    "1",
    "1 ",
    "12-",
    "+1",
    "4111 ",
    "DE89 ",
    "DE89",
    "sk-",
    "-----BEGIN ",
    "1.",
    "(",
    "%",
    "中",
    "@",
    "１",
]


@pytest.mark.timeout(30)  # the square of such a length takes hours
@pytest.mark.parametrize("unit", UNITS)
def test_a_long_text_that_never_becomes_personal_data_is_read_to_its_end(unit: str) -> None:
    assert personal(unit * ((1 << 18) // len(unit)), EVERY) is None


@pytest.mark.parametrize(
    "text",
    [
        "As an AI language model, I think so.",
        "It is red. I hope this helps!",
        "I'm just an AI, but yes.",
        "Certainly! Here is the list:",
        "Certainly! Here's the list:",
        "Feel free to ask me more.",
        "作为一个AI语言模型，我认为如此。",
        "答案是三。希望这对你有帮助！",
        "作为一个人工智能，我没有感情。",
        "如果您还有其他问题，请告诉我。",
    ],
)
def test_set_phrases_of_assistants(text: str) -> None:
    assert make_phrases(BOILERPLATE)(text)


@pytest.mark.parametrize(
    "text",
    [
        "I am an AI researcher in Ghent.",
        "I split my training data in two.",
        "Feel free to ask your doctor.",
        "Since my last update the house has a roof.",
        "A language model predicts words.",
        "作为一个孩子，我喜欢雨。",
        "这对你有帮助吗？",
        "人工智能是一门学科。",
    ],
)
def test_what_people_say_is_no_set_phrase(text: str) -> None:
    assert not make_phrases(BOILERPLATE)(text)


@pytest.mark.parametrize(
    "text", ["Oh SHIT!", "what the fuck?", "Kill  yourself.", "你这个傻逼！", "他妈的，下雨了", "Scheiße!"]
)
def test_foul_words(text: str) -> None:
    assert make_phrases(FOUL)(text)


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe, Penistone and Middlesex are places.",
        "The shiitake and the shitzu; a cockpit, a class, an assassin, Essex.",
        "A matsutake dish with a Dickens novel.",
        "Kill the process yourself.",
        "妈妈的手很温暖，他在操场上。",
        "去死海旅行",
    ],
)
def test_words_that_hold_foul_ones_are_not_foul(text: str) -> None:
    assert not make_phrases(FOUL)(text)


@given(st.lists(st.text(max_size=8), max_size=6), st.text(max_size=40))
def test_a_phrase_is_found_where_it_stands_between_other_words(phrases: list[str], text: str) -> None:
    from distill_data.quality.words import words

    found = f" {' '.join(words(text))} "
    assert make_phrases(phrases)(text) == any(
        f" {' '.join(words(phrase))} " in found for phrase in phrases if words(phrase)
    )


@pytest.mark.timeout(30)  # each phrase at each word takes far longer
def test_ten_thousand_phrases_in_a_long_text() -> None:
    holds = make_phrases([f"phrase number {index}" for index in range(10_000)])
    text = " ".join(string.ascii_lowercase[index % 26] * 5 for index in range(100_000))
    assert not holds(text)
    assert holds(f"{text} phrase number 9999")


def test_a_text_that_goes_round_in_circles() -> None:
    assert repeated_share("The cat sat on the mat again. " * 10) > 0.8
    assert repeated_share("今天天气很好，我们去公园玩。" * 6) > 0.7
    assert repeated_share("short, short, short") == 0.0
    assert repeated_share("") == 0.0


def test_a_text_that_does_not() -> None:
    english = (
        "Bread rises because yeast turns sugar into gas. The gas is held by the dough, which was kneaded until it "
        "stretches. In the oven the bubbles grow once more, until the crumb sets and the crust becomes brown."
    )
    chinese = (
        "面包发酵是因为酵母把糖变成了气体。气体被面团包住，面团揉得越久就越有弹性。放进烤箱以后，气泡继续变大，"
        "直到面包心定型、外皮变成棕色。烤好的面包要放在架子上晾凉，这样底部不会变湿。"
    )
    assert repeated_share(english) < 0.1
    assert repeated_share(chinese) < 0.1
