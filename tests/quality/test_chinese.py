"""Every rule of quality bites on Chinese as it does on English: words are characters, not whole sentences."""

from __future__ import annotations

import random

import pytest

from distill_data.quality.diversity import measure
from distill_data.quality.filters import make_filter
from distill_data.quality.likeness import likeness_of_texts
from distill_data.quality.minhash import NearDuplicates
from distill_data.quality.profile import profile
from distill_data.quality.redundancy import nearest_rouge, ngram_entropy
from distill_data.quality.rouge import RougePool, rouge_l
from distill_data.quality.selection import deita, k_centre

PEOPLE = ("医生", "老师", "学生", "厨师", "司机", "农民", "画家", "记者")
PLACES = ("图书馆", "火车站", "菜市场", "博物馆", "公园门口", "小学操场", "海边码头", "山间茶园")
DEEDS = (
    "整理一份旧地图",
    "学习怎样烤面包",
    "观察候鸟的迁徙",
    "修理坏掉的收音机",
    "给邻居写一封长信",
    "记录每天的气温变化",
)
TIMES = ("清晨六点", "午饭以后", "下着大雨的傍晚", "寒假第一天", "月底发工资那天")


def sentences(count: int) -> list[str]:
    rng = random.Random(5)
    return [
        f"{rng.choice(TIMES)}，{rng.choice(PEOPLE)}在{rng.choice(PLACES)}{rng.choice(DEEDS)}，"
        f"而{rng.choice(PEOPLE)}正在{rng.choice(PLACES)}{rng.choice(DEEDS)}，编号{number}。"
        for number in range(count)
    ]


def test_planted_duplicates_are_near_one_in_rouge_l_and_others_are_not() -> None:
    texts = sentences(60)
    pool = RougePool()
    for text in texts:
        pool.add(text)
    for number, text in enumerate(texts):
        copy = text.replace("，", " , ").replace("正在", "在").replace("。", "！")
        score, index = pool.nearest(copy, 1)[0]
        assert index == number
        assert score > 0.95
    assert rouge_l("今天天气很好", "股票价格下跌") == 0.0
    assert 0.4 < rouge_l("今天天气很好", "今天天气不错") < 0.8


def test_planted_near_duplicates_are_found_by_minhash() -> None:
    texts = sentences(60)
    known = NearDuplicates(0.7)
    for text in texts:
        known.add(text)
    assert [known.find(text.replace("，", "、") + "了") for text in texts] == list(range(60))
    assert known.find("完全不同的一句话，讲的是海上的灯塔和守灯塔的老人。") is None


def test_distinct_n_self_bleu_and_entropy_see_characters() -> None:
    same, different = measure(["今天的天气很好"] * 20), measure(sentences(20))
    assert same["mean_words"] == 7
    assert same["distinct_1"] == pytest.approx(6 / 140, abs=1e-4)  # one character stands twice
    assert same["self_bleu"] == 1.0 > different["self_bleu"]
    assert ngram_entropy(["今天今天"]) == 1.0
    assert nearest_rouge(["今天天气很好", "今天天气很好！", "股票价格下跌"]) == [1.0, 1.0, 0.0]


def test_selection_tells_duplicates_apart() -> None:
    texts = [text for text in sentences(20) for text in (text, text.replace("，", "。"))]
    likeness = likeness_of_texts(texts)
    scores, ties = [1.0] * 40, list(range(40))
    assert {ordinal // 2 for ordinal in deita(scores, ties, 40, likeness, 0.99).kept} == set(range(20))
    assert len(deita(scores, ties, 40, likeness, 0.99).kept) == 20
    assert {ordinal // 2 for ordinal in k_centre(likeness, 20).kept} == set(range(20))


@pytest.mark.parametrize(
    ("spec", "text", "reason"),
    [
        ("words:1,10", "面包发酵是因为酵母把糖变成了气体", "too-many-words"),
        ("words:5", "很好。", "too-few-words"),
        ("length:5", "很好。", "too-short"),
        ("language:en", "面包发酵是因为酵母把糖变成了气体。", "language"),
        ("refusal", "抱歉，我不能帮助您完成这个请求。", "refusal"),
        ("repetition", "这道题的答案是三。" * 12, "repetition"),
        ("boilerplate", "作为一个AI语言模型，我没有个人观点。", "boilerplate"),
        ("substance", "的、了、吗？", "no-substance"),
        ("toxicity", "你这个傻逼！", "toxicity"),
        ("pii", "我的手机号是13812345678，请联系我。", "pii-phone"),
        ("pii", "发邮件到wang@qq.com即可", "pii-email"),
        ("truncation", "面包发酵是因为酵母把糖变成了气体。" * 4 + "把面团放进烤箱以后，气泡", "truncated"),
    ],
)
def test_every_check_fires(spec: str, text: str, reason: str) -> None:
    assert make_filter(spec)({"prompt": "问题", "completion": text}) == reason
    good = (
        "面包发酵是因为酵母把糖变成气体，面团因此变得又松又软。" if spec != "language:en" else "Yeast makes bread rise."
    )
    assert make_filter(spec if spec != "words:1,10" else "words:1,40")({"prompt": "问题", "completion": good}) is None


def test_a_profile_counts_characters_as_words() -> None:
    rows = [{"prompt": text, "completion": "好的，我明白了。"} for text in sentences(30)]
    found = profile(rows)
    assert found["texts"]["y"]["words"]["mean"] == 6
    assert found["texts"]["y"]["duplicates"] == {"share": 29 / 30, "exact": True}
    assert found["texts"]["x"]["languages"] == {"zh": 30}
    assert found["duplicates"]["share"] == 0.0
