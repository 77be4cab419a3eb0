"""The words that planted data is put together from, written for these tests. Knows no truth and no row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Words(NamedTuple):
    """A language of planted data."""

    shapes: Sequence[tuple[str, tuple[str, ...]]]
    """A template, its main clause and its aside with | between, and the kinds of its slots, the content first."""
    slots: Mapping[str, Sequence[str]]
    openers: Sequence[str]
    synonyms: Mapping[str, Sequence[str]]
    token: str
    """A pattern that finds the words that may have a synonym."""
    sentences: Sequence[str]
    between: tuple[str, str]
    """What joins the clauses as they are, and turned round."""
    marks: tuple[str, str, str]
    """Ends that a changed text may have, and a beginning."""
    end: str
    space: str


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def _listed(text: str) -> list[str]:
    return text.split()


def _synonyms(text: str) -> dict[str, list[str]]:
    """Each word of a group to the others."""
    groups = [group.split("/") for line in _lines(text) for group in line.split()]
    return {word: [other for other in group if other != word] for group in groups for word in group}


ENGLISH = Words(
    shapes=(
        ("explain {0} {1} {2} to {3}|in {4}", ("aspect", "subject", "setting", "reader", "length")),
        ("describe {0} {1} {2} for {3}|using {4}", ("aspect", "subject", "setting", "reader", "means")),
        ("write a {3} {4} about {1} {2} in which {0}", ("event", "subject", "setting", "tone", "form")),
        ("list {4} questions that {3} may ask about {0} {1} {2}", ("aspect", "subject", "setting", "reader", "few")),
        ("compare {0} with {1} {2} for {3}|ending with {4}", ("subject", "subject", "setting", "reader", "extra")),
        ("suggest a plan for {3} to learn {0} {1} {2}|over {4}", ("aspect", "subject", "setting", "reader", "time")),
        ("argue for and against {1} {2} at {3}|mentioning that {0}", ("event", "subject", "setting", "place")),
        ("describe {0} {1} {2}", ("aspect", "subject", "setting")),
        (
            "how many {4} are left if {3} {5} with {0} and gives away {1} on day {2}",
            ("number", "number", "number", "person", "thing", "collected"),
        ),
        (
            "summarise what {3} should know about {0} {1} {2}|before visiting {4}",
            ("aspect", "subject", "setting", "reader", "place"),
        ),
    ),
    slots={
        "aspect": _lines("""
            the history of
            the hidden costs of
            common mistakes in
            the basic tools for
            the physics behind
            the seasonal rhythm of
            the legal rules around
            the health risks of
            the main steps of
            the economic importance of
            famous pioneers of
            the environmental impact of
            the vocabulary used in
            the daily routine of
            modern alternatives to
            the mathematics behind
            safety measures for
            regional variants of
            myths surrounding
            the future of
            the artistic side of
            beginner exercises for
            quality standards in
            the social meaning of
        """),
        "subject": _lines("""
            beekeeping
            glassblowing
            tidal power stations
            sourdough baking
            mountain rescue
            letterpress printing
            salt harvesting
            urban foxes
            violin repair
            coral reefs
            night trains
            cheese ripening
            lighthouse maintenance
            paper folding
            desert farming
            ice hockey goalkeeping
            medieval bridges
            weather balloons
            sign language poetry
            bamboo scaffolding
            volcanic soil
            kite surfing
            public libraries
            mushroom picking
            antique clocks
            marathon pacing
            chess endings
            rainwater tanks
            shadow puppets
            olive pressing
            submarine cables
            sheep shearing
            rooftop gardens
            tram networks
            pottery glazes
            bird migration
            stage lighting
            perfume blending
            canal locks
            wool dyeing
            radio telescopes
            street markets
            cave diving
            apple grafting
            hospital kitchens
            avalanche forecasting
            jazz improvisation
            wooden boats
            vaccine storage
            crossword puzzles
            earthquake drills
            tea ceremonies
            solar ovens
            fencing tournaments
            seed banks
            museum restoration
            falcon training
            harbour pilots
            subtitle translation
            recycled plastics
            wheelchair basketball
            fermented vegetables
            satellite navigation
            carnival costumes
            stone walls
            guide dogs
            choir rehearsals
            peat bogs
            coffee roasting
            elevator inspection
            star charts
            bicycle couriers
            theatre masks
            flood barriers
            orchard pests
            quilting circles
            speed skating
            blacksmith forges
            maple syrup
            river ferries
            census surveys
            garden ponds
            opera subtitles
            mosaic floors
            wind tunnels
            silk weaving
            dinosaur fossils
            pencil drawing
            rice terraces
            airport security
        """),
        "setting": _lines("""
            in crowded suburbs
            on windswept islands
            during a heat wave
            after the floods
            between the world wars
            at high altitude
            under foreign rule
            near the polar circle
            with donated equipment
            without electric power
            on a tight budget
            in bilingual families
            along old trade routes
            in the tropics
            amid political unrest
            since the railway came
            behind closed doors
            at the turn of the century
            among left handed people
            under strict supervision
            in abandoned factories
            for charity
            by moonlight
            beside busy motorways
            despite labour shortages
            in peacetime
        """),
        "reader": _lines("""
            a curious ten year old
            a retired engineer
            newly arrived neighbours
            a busy nurse
            students of architecture
            an impatient customer
            a group of tourists
            the owner of a small shop
            a sceptical journalist
            volunteers at a shelter
            a teenager who hates reading
            the town council
            an experienced carpenter
            parents of twins
            a visiting professor
            apprentices in their first week
            a radio audience
            my grandmother
        """),
        "length": _lines("""
            three short sentences
            one dense paragraph
            fewer than eighty words
            simple everyday language
            five numbered points
            the style of an encyclopedia
            a single vivid comparison
            plain words without jargon
            two contrasting halves
        """),
        "means": _lines("""
            a metaphor from cooking
            exactly four bullet points
            only familiar terms
            a dialogue between strangers
            one surprising statistic
            a timeline of dates
            questions and replies
            an imaginary diary entry
        """),
        "event": _lines("""
            a stranger loses a key
            two rivals become friends
            the power fails at noon
            an old promise is broken
            nobody speaks a word
            a letter arrives too late
            the hero learns to wait
            a child corrects an expert
            money suddenly has no value
            everything happens in one hour
            the weather decides the outcome
            a forgotten photograph returns
            someone refuses a reward
            a machine tells a lie
            the last bus has gone
            an apology changes the mood
        """),
        "tone": _lines("""
            humorous
            melancholy
            suspenseful
            gentle
            sarcastic
            formal
            nostalgic
            dreamlike
        """),
        "form": _lines("""
            story
            poem
            monologue
            news report
            fairy tale
            song
            speech
            riddle
        """),
        "extra": _lines("""
            an unexpected ending
            a clear recommendation
            one rhetorical question
            a short list of sources
            a quotation at the beginning
            some advice for beginners
            a table of differences
            a warning in the last line
        """),
        "few": _lines("""
            six
            seven
            a dozen
            ten
            fifteen
        """),
        "time": _lines("""
            four weekends
            a long winter
            thirty days
            two school terms
            the summer holidays
            eight evenings
        """),
        "place": _lines("""
            primary schools
            a coastal village
            evening colleges
            a northern island
            summer camps
            the capital
            retirement homes
            an open prison
        """),
        "person": _lines("""
            Amina
            a baker
            Joris
            the gardener
            Priya
            a postman
            Lucia
            the librarian
            Tomasz
            a fisherman
        """),
        "thing": _lines("""
            marbles
            tickets
            lemons
            stamps
            blankets
            pencils
            candles
            walnuts
            postcards
            buttons
            tulips
            coins
        """),
        "collected": _lines("""
            starts the week
            leaves the market
            opens the shop
            comes back from the fair
            begins the day
        """),
    },
    openers=(
        "please ", "could you ", "can you please ", "I would like you to ", "I need you to ", "would you kindly ",
        "kindly ", "hi, ", "can you help me: ", "your task is as follows: ", "hello, could you please ",
    ),
    synonyms=_synonyms("""
        explain/clarify describe/depict write/compose list/enumerate compare/contrast suggest/propose argue/reason
        summarise/outline short/brief simple/easy common/frequent mistakes/errors main/principal story/tale
        future/outlook costs/expenses tools/instruments rules/regulations risks/dangers steps/stages famous/renowned
        importance/significance modern/contemporary funny/humorous gentle/mild formal/official unexpected/surprising
        clear/unambiguous advice/guidance learn/study questions/queries mention/cite know/understand stranger/outsider
        finish/conclude busy/hectic curious/inquisitive teaching/presenting daily/everyday basic/elementary
        ending/finale left/remaining experienced/seasoned visiting/touring hidden/concealed plan/programme
    """),
    token=r"[A-Za-z]+",
    sentences=_lines("""
        People who know {0} well often begin with {1}, because both need patience.
        A good first step is to watch {0} closely and to write down what happens.
        There are several reasons for this, and the strongest of them has to do with {1}.
        In the end, most experts agree that {0} deserves more attention than it gets today.
        What surprises many visitors is how little {1} has changed over the last century.
        Costs depend on the region, but a careful plan for {0} keeps them low.
        One can compare it with {1}: the tools differ, while the habits stay the same.
        Anyone who wants to go further should read about {0} and ask a local group.
        Rules differ from town to town, so it is wise to ask before work on {1} begins.
        The idea is old, yet new materials have made {0} safer than it was.
    """),
    between=(", ", ", "),
    marks=("...", "!", ">> "),
    end=".",
    space=" ",
)  # fmt: skip

MANDARIN = Words(
    shapes=(
        ("向{3}解释{2}{1}的{0}|用{4}的方式", ("aspect", "subject", "setting", "reader", "style")),
        ("写一篇关于{2}{1}的{3}{4}|其中要出现{0}", ("event", "subject", "setting", "tone", "form")),
        ("比较{0}和{2}{1}的不同之处|并为{3}给出{4}", ("subject", "subject", "setting", "reader", "extra")),
        ("为{3}列出学习{2}{1}时在{0}方面的五个问题", ("aspect", "subject", "setting", "reader")),
        ("给{3}制定一份计划来了解{2}{1}的{0}|时间为{4}", ("aspect", "subject", "setting", "reader", "time")),
        ("给{3}介绍{2}{1}的{0}|最后附上{4}", ("aspect", "subject", "setting", "reader", "extra")),
    ),
    slots={
        "aspect": _listed("""
            历史 成本 常见错误 基本工具 物理原理 季节变化 法律规定 健康风险 主要步骤 经济意义 著名先驱
            环境影响 专业词汇 日常安排 现代替代品 数学基础 安全措施 地方特色 流行误解 未来前景 艺术价值
            入门练习 质量标准
        """),
        "subject": _listed("""
            养蜂 玻璃吹制 潮汐发电 手工面包 高山救援 活字印刷 海盐采集 城市狐狸 小提琴修理 珊瑚礁
            夜间列车 奶酪发酵 灯塔维护 折纸 沙漠农业 古代桥梁 气象气球 竹制脚手架 火山土壤 风筝冲浪
            公共图书馆 采蘑菇 古董钟表 马拉松配速 象棋残局 雨水收集 皮影戏 橄榄榨油 海底电缆 剪羊毛
            屋顶花园 有轨电车 陶瓷釉料 候鸟迁徙 舞台灯光 香水调配 运河船闸 羊毛染色 射电望远镜 街头市集
            洞穴潜水 苹果嫁接 医院食堂 雪崩预报 爵士即兴 木船建造 疫苗储存 填字游戏 地震演习 茶道
            太阳灶 击剑比赛 种子库 文物修复 驯鹰 港口引航 字幕翻译 再生塑料 轮椅篮球 泡菜腌制 卫星导航
            石墙砌筑 导盲犬 合唱排练 咖啡烘焙 电梯检验 星图绘制 自行车快递 防洪堤坝 果园虫害 速度滑冰
            铁匠锻造 枫糖熬制 渡轮运营 人口普查 马赛克地板 风洞实验 丝绸织造 恐龙化石 铅笔素描 水稻梯田
            机场安检
        """),
        "setting": _listed("""
            拥挤郊区里 大风海岛上 热浪期间 洪水过后 两次大战之间 高原地区 北极圈附近 靠捐赠器材进行的
            停电情况下 预算紧张时 双语家庭中 古老商道沿线 热带雨林边 政局动荡中 铁路开通以来 关门闭户的
            世纪之交 左撇子当中 严格监管下 废弃厂房内 慈善性质的 月光下 高速公路旁 人手短缺时 和平年代
            草原牧民的
        """),
        "reader": _listed("""
            好奇的小学生 退休工程师 新来的邻居 忙碌的护士 建筑系学生 挑剔的顾客 外地游客 小店老板
            多疑的记者 社区志愿者 讨厌读书的少年 镇议会代表 老练的木匠 双胞胎的父母 访问教授 广播听众
            我的奶奶
        """),
        "style": _listed("""
            三句短话 一个比喻 日常口语 分条列举 百科全书 问答对话 不带术语 先总后分 时间顺序 因果分析
            正反对照 打油诗 新闻导语 读者来信 漫画旁白
        """),
        "event": _listed("""
            一把丢失的钥匙 两个和好的对手 正午的停电 被打破的诺言 全程的沉默 迟到的信件 学会等待的主角
            纠正专家的孩子 突然作废的钱币 决定结局的天气 重新出现的照片 被拒绝的奖赏 说谎的机器
            最后一班公交 改变气氛的道歉 一场误会 打翻的墨水 不请自来的客人 结冰的湖面 抽签的结果
            忘词的演员
        """),
        "tone": _listed("""
            幽默 忧伤 紧张 温柔 讽刺 正式 怀旧 梦幻 激昂 冷静 俏皮 荒诞 朴素 神秘
        """),
        "form": _listed("""
            故事 诗歌 独白 新闻报道 童话 歌词 演讲稿 谜语
        """),
        "extra": _listed("""
            一个明确的建议 一句引文 三条参考资料 给新手的忠告 一张差异表格 一句警告 一个反问 两幅草图说明
            一段自我评价 一份采购清单 一首短歌 一个开放结局 几个关键词
        """),
        "time": _listed("""
            四个周末 一个冬天 三十天 两个学期 整个暑假 八个晚上 每天清晨 三个雨季 半个学年 两百小时
            五次聚会 一段旅途
        """),
    },
    openers=("请", "请你", "麻烦你", "能不能", "可以请你", "我想让你", "你好，请", "帮我", "劳驾你"),
    synonyms=_synonyms("""
        解释/说明 比较/对比 列出/列举 介绍/讲述 制定/拟定 常见/普遍 步骤/流程 风险/危险 基本/基础 著名/知名 未来/今后
        规定/法规 意义/价值 问题/疑问 建议/意见 故事/小说 忙碌/繁忙 了解/认识 计划/方案 不同/差异 明确/清楚 出现/包含
    """),
    token="解释|说明|比较|对比|列出|列举|介绍|讲述|制定|拟定|常见|步骤|风险|基本|著名|未来|规定|意义|问题|建议|故事|忙碌"
    "|了解|计划|不同|明确|出现",
    sentences=_lines("""
        懂得{0}的人往往会先谈到{1}，因为两者都需要耐心。
        最好的第一步是仔细观察{0}，并把看到的情况记录下来。
        原因有好几个，其中最重要的一个与{1}有关。
        总的来说，多数专家认为{0}应当得到更多的关注。
        让许多访客惊讶的是，{1}在过去一百年里变化不大。
        费用因地区而异，但是周密的安排能让{0}的开支保持在低水平。
        可以拿它和{1}相比：工具不一样，习惯却很接近。
        想要深入学习的人，应该阅读有关{0}的书籍，并向当地团体请教。
    """),
    between=("，", "，"),
    marks=("……", "！", "》 "),
    end="。",
    space="",
)

REFUSAL = "I'm sorry, but I can't help with that request."
JUNK: Mapping[str, Callable[[str], str]] = {
    "empty": lambda answer: "",
    "refusal": lambda answer: REFUSAL,
    "repetition": lambda answer: "and so it goes on and on " * 12,
    "language": lambda answer: (
        "Les abeilles rentrent à la ruche quand le soir tombe, et nous les regardons avec beaucoup de patience."
    ),
    "truncated": lambda answer: (
        "The first thing that anyone should know about this is that it takes a lot of time, that the tools which are "
        "needed can be found in most towns, and that a person who begins in spring will see what comes of it only in "
        "autumn, when the days grow shorter and the work of the whole year is at last ready to be"
    ),
    "boilerplate": lambda answer: f"As an AI language model, I have no experience of this. {answer}",
}
"""Kind of junk to how it makes an answer bad."""

BENCHMARK: Sequence[Mapping[str, str]] = [
    {"id": f"b{number}", "question": question.strip(), "answer": answer.strip()}
    for number, (question, _, answer) in enumerate(
        line.partition("=>")
        for line in _lines("""
        A cyclist rides 14 km to work and 14 km back on each of 5 days. How many kilometres does she ride in all? => 140
        A tank holds 360 litres and loses 9 litres an hour through a crack. After how many hours is it empty? => 40
        Three painters need 12 hours for a fence. How long do 4 painters need if all of them work at one speed? => 9
        A train leaves at 8:40 and arrives at 13:05 after one stop of 15 minutes. How long was it moving? => 250 minutes
        A farmer has 48 hens and sells a quarter of them, then buys 7 more at the fair. How many hens are there? => 43
        The sum of two numbers is 51 and their difference is 17. What is the larger one of the two numbers? => 34
        A square garden has a fence of 64 metres around it. What is the area of the garden in square metres? => 256
        Every box holds 24 bottles, and a cafe orders 9 boxes but 11 bottles arrive broken. How many are whole? => 205
        A shirt costs 40 euros and its price falls by 15 percent in the sale. What does the shirt cost now? => 34
        Nora reads 18 pages on Monday and doubles her pages each day until Thursday. How many pages in all? => 270
        Which gas do green plants take in from the air in order to build sugar with the help of light? => carbon dioxide
        Which organ of the human body makes the insulin that lowers the level of sugar in the blood? => pancreas
        Which planet of the solar system turns on its side, so that its poles point to the sun in turn? => Uranus
        What is the name of the line on a map that joins all the places that lie at the same height? => contour line
        Which metal is liquid at room temperature and was used in thermometers for a very long time? => mercury
        Which layer of the atmosphere holds most of the ozone that keeps ultraviolet light from us? => stratosphere
        What do we call an animal that eats both plants and meat, such as a bear or a wild boar? => omnivore
        Which part of a plant cell holds the green pigment and turns the light of the sun into sugar? => chloroplast
        Which force keeps the moon on its path around the earth and causes the tides of the seas? => gravity
        What is the smallest unit of a chemical element that still has all the properties of that element? => atom
        Write a function that takes a list of integers and returns the second largest value in it. => sorted(a)[-2]
        Write a function that takes a string and tells if its letters read the same from both ends. => s == s[::-1]
        Write a function that counts how many times each word occurs in a text and returns a mapping. => Counter
        Write a function that merges two sorted lists into one sorted list without a sort of the library. => merge
        Write a function that returns the first n numbers of the sequence of sums of the last two. => fib
        Write a function that takes a matrix as a list of rows and returns the matrix turned by ninety degrees. => zip
        Write a function that checks whether the brackets in a string are closed in the right order. => stack
        Write a function that takes a date as text and returns the day of the week on which it falls. => weekday
        Write a function that finds the longest run of equal characters in a string and returns its length. => groupby
        Write a function that removes every second element from a linked list and returns its new head. => node
    """)
    )
]  # fmt: skip

COMMON = (
    "Write a function that takes a list of integers and returns notes that",
    "How many people does it take to",
    "What is the name of the person who can",
    "Which part of the human body would you use to",
    "A train leaves at noon; on it,",
    "Read this, think step by step, and",
    "Which planet of the solar system would be the best place to",
    "What do we call someone who is able to",
)
"""Openings that instructions and benchmarks have in common."""
