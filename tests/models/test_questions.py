"""Answers become one line of names without the class itself, whatever a model writes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synood.errors import InputError
from synood.files import sha256_bytes
from synood.models._answer_text import AnswerError, whole_items, without_reasoning
from synood.models.describer import names_overlap
from synood.models.questions import QUESTIONS, find_question

QUESTION = QUESTIONS["surroundings-v1"]


def test_a_question_keeps_its_text_under_its_name():
    texts = {name: sha256_bytes(question.text.encode()) for name, question in QUESTIONS.items()}
    assert texts == {
        "surroundings-v1": "e3e42960a89896582dca9843a2fee5f443fea940850cfd7e88b24b80d0b80e87"
    }  # answers are cached by the text: give another text another name


LISTS = [
    ("sofa, lamp, wooden floor", "sofa, lamp, wooden floor"),
    ("Sofa, a lamp, The Floor.", "Sofa, lamp, Floor"),
    ("1. sofa\n2. lamp\n3) rug\n", "sofa, lamp, rug"),
    ("1) a sofa 2) b", "sofa, b"),
    ("1. sofa 2. lamp 3. rug", "sofa, lamp, rug"),
    ("1.sofa 2.lamp", "sofa, lamp"),
    ("1: sofa 2: lamp", "sofa, lamp"),
    ("(1) sofa (2) lamp", "sofa, lamp"),
    ("a) sofa b) lamp iii) rug", "sofa, lamp, rug"),
    ("① sofa ② lamp", "sofa, lamp"),
    ("1️⃣ sofa 2️⃣ lamp", "sofa, lamp"),
    ("- sofa\n* lamp\n• rug", "sofa, lamp, rug"),
    ("• sofa • lamp · rug", "sofa, lamp, rug"),
    ("sofa - lamp – rug", "sofa, lamp, rug"),
    ("sofa / lamp/rug", "sofa, lamp, rug"),
    ("sofa & lamp", "sofa, lamp"),
    ("sofa. lamp. rug.", "sofa, lamp, rug"),
    ("sofa、lamp，rug；window。", "sofa, lamp, rug, window"),
    ("sofa, Sofa, SOFA, lamp", "sofa, lamp"),
    ("dog, a dog bowl, Dogs, hotdog stand", "hotdog stand"),
    ("a sofa on which somebody has left an open book, lamp", "lamp"),
    ("a, b, c, d, e, f, g, h", "a, b, c, d, e, f"),
    ("[1] sofa {2} lamp 3] rug 4> shelf", "sofa, lamp, rug, shelf"),
    ("1 sofa 2 lamp 3 rug", "sofa, lamp, rug"),
    ("1、sofa 2、lamp", "sofa, lamp"),
    ("#1 sofa #2 lamp", "sofa, lamp"),
    ("i. sofa ii. lamp", "sofa, lamp"),
    ("Step 1: sofa Step 2: lamp", "sofa, lamp"),
    ("First, a sofa. Second, a lamp.", "sofa, lamp"),
    ("sofa -> lamp → rug", "sofa, lamp, rug"),
    ("sofa, lamp, etc.", "sofa, lamp"),
    ("sofa, lamp and more", "sofa, lamp"),
    ("2 chairs, 1950s radio", "2 chairs, 1950s radio"),
    ("sorry-looking sofa, afraid child", "sorry-looking sofa, afraid child"),
    ("answering machine, background screen", "answering machine, background screen"),
]
LEAD_INS = [
    ("Answer: sofa; lamp", "sofa, lamp"),
    ("**Final answer:** sofa, lamp", "sofa, lamp"),
    ("The picture shows a sofa, a lamp and a rug.", "sofa, lamp, rug"),
    ("In the background there is a sofa.", "sofa"),
    ("In the background: sofa, lamp", "sofa, lamp"),
    ("I can see a sofa and a lamp.", "sofa, lamp"),
    ("Sure! Here are six things around the dog: sofa, lamp", "sofa, lamp"),
    ("Certainly, here you go: sofa, lamp. I hope this helps!", "sofa, lamp"),
    ("* sofa * lamp", "sofa, lamp"),
    ("#sofa #lamp", "sofa, lamp"),
    ("sofa\tlamp", "sofa, lamp"),
    ("### Surroundings\n- sofa\n- lamp", "sofa, lamp"),
    ("Objects: sofa, lamp\nMaterials: wood", "sofa, lamp, wood"),
    ("1. **Sofa**: a large brown sofa behind it\n2. **Lamp**: next to the sofa", "Sofa, Lamp"),
]
MARKUP = [
    ("a. sofa b. lamp 1- rug", "sofa, lamp, rug"),
    ("* sofa * lamp", "sofa, lamp"),
    ("| item |\n|---|\n| sofa |", "sofa"),
    ('"sofa", "lamp"', "sofa, lamp"),
    ("“sofa”, ‘lamp’", "sofa, lamp"),
    ("**sofa**, *lamp*, __rug__, `window`", "sofa, lamp, rug, window"),
    ("| sofa | lamp |\n|---|---|", "sofa, lamp"),
    ("<ul><li>sofa</li><li>lamp</li></ul>", "sofa, lamp"),
    ("sofa<br>lamp, <b>wooden</b> floor", "sofa, lamp, wooden floor"),
    ("sofa &amp; lamp, dog&#39;s lead, cat&#39;s bed&nbsp;", "sofa, lamp, cat's bed"),
    ("[sofa](https://example.com/sofa), lamp", "sofa, lamp"),
    ('["sofa", "lamp"]', "sofa, lamp"),
    ('```json\n{"items": ["sofa", "lamp"]}\n```', "sofa, lamp"),
    ('{"reason": "a room", "things": [{"name": "sofa", "colour": "red"}]}', "sofa"),
    ('{"sofa": 0.9, "lamp": 0.8}', "sofa, lamp"),
    ('[{"label": "sofa", "bbox": [1, 2]}, {"label": "lamp", "bbox": [3, 4]}]', "sofa, lamp"),
    (r"sofa\nlamp", "sofa, lamp"),
    (r"$\text{sofa}$, $\text{lamp}$", "sofa, lamp"),
    ('{"items": ["sofa", "lamp", "wo', "sofa, lamp, wo"),
]
LETTERS = [
    ("café table, naïve art", "cafe table, naive art"),
    ("smørrebrød, Straße, a lamp, a table", "smorrebrod, Strasse, lamp, table"),
    ("沙发, lamp", "lamp"),
    ("沙发(sofa)、灯(lamp)", "sofa, lamp"),
    ("🛋️ sofa, 💡 lamp", "sofa, lamp"),
    ("so\u200bfa,\u00a0lamp\ufeff", "sofa, lamp"),
    ("mid‑century chair, neighbour’s house", "mid-century chair, neighbour's house"),
    ("\x00sofa\x07, lamp", "sofa, lamp"),
]
REASONING = [
    ("### Thinking\nThe dog, in a room.\n### Answer\nsofa, lamp", "sofa, lamp"),
    ("<unused94>thought\na dog<unused95>sofa", "sofa"),
    (
        "<|begin_of_thought|>hm<|end_of_thought|><|begin_of_solution|>sofa<|end_of_solution|>",
        "sofa",
    ),
    ("<antThinking>hm, a room</antThinking>sofa", "sofa"),
    ("<think>The dog, a cat?</think>sofa, lamp", "sofa, lamp"),
    ("the dog sits, so\n</think>\n\nsofa, lamp", "sofa, lamp"),
    ("<thinking>\nhm\n</thinking>sofa", "sofa"),
    ("&lt;think&gt;hm&lt;/think&gt;sofa", "sofa"),
    ("◁think▷hm, a cat◁/think▷sofa", "sofa"),
    ("[THINK]hm[/THINK]sofa", "sofa"),
    ("<seed:think>hm</seed:think>sofa", "sofa"),
    ("<|START_THINKING|>hm<|END_THINKING|>sofa", "sofa"),
    (
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>sofa",
        "sofa",
    ),
    ("Let me see.<answer>sofa, lamp</answer>", "sofa, lamp"),
    ("hm <|begin_of_box|>sofa, lamp<|end_of_box|>", "sofa, lamp"),
    ("so \\boxed{sofa, lamp}", "sofa, lamp"),
    ("$\\boxed{\\text{sofa, lamp}}$", "sofa, lamp"),
    ("<|thinking|>hm<|/thinking|>sofa", "sofa"),
    ('<tool_call>{"name": "zoom"}</tool_call>sofa', "sofa"),
    ("Thinking: a sofa or a bed?\n\n**Final answer:** sofa, lamp", "sofa, lamp"),
]
TOKENS = [
    ("sofa,Ġlamp<0x0A>rug", "sofa, lamp, rug"),
    ("sofa, lamp<|im_end|>", "sofa, lamp"),
    ("sofa, lamp</s>", "sofa, lamp"),
    ("<s>sofa, lamp</s><pad><pad>", "sofa, lamp"),
    ("<|im_start|>assistant\nsofa<|im_end|>\n<|im_start|>user\nand the cat?", "sofa"),
    ("<|start_header_id|>assistant<|end_header_id|>\n\nsofa<|eot_id|>", "sofa"),
    ("<start_of_turn>model\nsofa<end_of_turn>", "sofa"),
    ("sofa<end_of_utterance>", "sofa"),
    ("sofa<｜end▁of▁sentence｜>", "sofa"),
    ("USER: What is there? ASSISTANT: sofa", "sofa"),
    ("[INST] sofa [/INST]", "sofa"),
    ("sofa, lamp [EOS]", "sofa, lamp"),
    ("[CLS] sofa, lamp [SEP]", "sofa, lamp"),
    ("sofa, lamp[end of text]", "sofa, lamp"),
    ("<|turn>model\nsofa, lamp<turn|>", "sofa, lamp"),
    ("<|channel>thought\na dog<channel|>sofa, lamp", "sofa, lamp"),
    ("sofa, lamp\n\nUser: and the cat?", "sofa, lamp"),
    ("sofa, lamp\n### Human: more", "sofa, lamp"),
    ("sofa, lamp\n\nNote: the image is blurred.", "sofa, lamp"),
]
NOTHING_AROUND = ["the dog", "None.", "Nothing visible", "n/a", "No other objects, dog", "null"]
NOTHING_AROUND += ["There is no background", "The image is blank"]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [*LISTS, *LEAD_INS, *MARKUP, *LETTERS, *REASONING, *TOKENS]
    + [(answer, "plain background") for answer in NOTHING_AROUND],
)
def test_an_answer_is_cleaned(answer, expected):
    assert QUESTION.read(answer, "dog") == expected


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "the answer is empty"),
        ("...", "the answer is empty"),
        ("\u200b\n", "the answer is empty"),
        ("</s>", "the answer is empty"),
        ("<think>The dog sits on a sofa, and", "the answer is empty"),
        ("<|channel|>analysis<|message|>a sofa, a lamp", "the answer is empty"),
        ("{}", "the answer is empty"),
        ("沙发，灯", r'the answer is not in English \("沙发，灯"\)'),
        ("диван, лампа", "the answer is not in English"),
        ("un canapé, une lampe, le parquet", "the answer is not in English"),
        ("el sofá, la lámpara", "the answer is not in English"),
        ("ein Sofa, eine Lampe und der Teppich", "the answer is not in English"),
        ("소파, 램프", "the answer is not in English"),
        ("Sofa, Lampe, Teppich", "the answer is not in English"),
        ("divano, lampada, tappeto", "the answer is not in English"),
        ("sofa und lampe", "the answer is not in English"),
        ("Lo siento, no puedo ayudar", "the model refused to answer"),
        ("This image cannot be described.", "the model refused to answer"),
        ("I must refuse to answer.", "the model refused to answer"),
        ("I'm not allowed to describe this", "the model refused to answer"),
        ("Request declined.", "the model refused to answer"),
        ("It goes against our content policy", "the model refused to answer"),
        ("Error: image not found", "the model refused to answer"),
        ("I don't know", "the model refused to answer"),
        ("unknown", "the model refused to answer"),
        ("I'm sorry, but I can't help with that.", "the model refused to answer"),
        ("I’m sorry, I can’t assist.", "the model refused to answer"),
        ("Sorry, no", "the model refused to answer"),
        ("As an AI, sofa, lamp", "the model refused to answer"),
        ("As a large language model I see no images", "the model refused to answer"),
        ("Unfortunately, I cannot identify this.", "the model refused to answer"),
        ("I don't see any image. Please upload it.", "the model refused to answer"),
        ("My apologies, no.", "the model refused to answer"),
        ("**I am unable to comply.**", "the model refused to answer"),
        ("A dog-free view over a garden in which several old trees stand", "holds no short name"),
        ("word " * 50, "holds no short name"),
        ("The dog is lying on the grass beside a wooden fence.", "holds no short name"),
        ("[REDACTED]", "the model refused to answer"),
        ("Internal server error", "the model refused to answer"),
        ("Rate limit exceeded", "the model refused to answer"),
        ("Content not available", "the model refused to answer"),
        ("The image is not visible to me", "the model refused to answer"),
        ("Image not found", "the model refused to answer"),
        ("The picture could not be loaded.", "the model refused to answer"),
        ("Could you please upload the image?", "the model refused to answer"),
        ("undefined", "the model refused to answer"),
        ("error", "the model refused to answer"),
    ],
)
def test_an_answer_that_cannot_be_used_says_why(answer, reason):
    with pytest.raises(AnswerError, match=reason):
        QUESTION.read(answer, "cat")


@pytest.mark.parametrize(
    "answer",
    [
        "wooden floor, autumn leaves, blurred trees",
        "bookshelves, windowsill, houseplants",
        "an unknown person, a filtered light",
        "skibob",
        "plexiglass, workbench, pegboard",
        "errors on a screen, terms of use",
    ],
)
def test_english_is_no_refusal_and_no_other_language(answer):
    assert QUESTION.read(answer, "cat")


def test_of_an_answer_cut_short_the_whole_items_remain():
    assert whole_items("sofa, lamp, wooden fl") == "sofa, lamp"
    assert whole_items("1. sofa\n2. la") == "1. sofa"
    for answer in ("wooden fl", "", "<think>a sofa, a lamp, so"):
        with pytest.raises(AnswerError, match="cut short before it named anything"):
            whole_items(answer)


@given(st.text(max_size=400), st.sampled_from(["dog", "red panda", "C++", "(x"]))
def test_any_answer_gives_one_short_line_of_ascii_without_the_class(answer, name):
    try:
        text = QUESTION.read(answer, name)
    except AnswerError:
        return
    assert text
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= QUESTION.characters
    items = text.split(", ")
    assert len(items) <= QUESTION.items
    assert text == QUESTION.fallback or not any(names_overlap(item, name) for item in items)


PIECES = ["<think>", "</think>", "<|im_end|>", "sofa", ", ", "\n", "1) ", "**", '{"a": [', "I can"]


@given(st.lists(st.sampled_from(PIECES), max_size=30))
def test_no_mixture_of_marks_reaches_a_prompt(pieces):
    answer = "".join(pieces)
    assert "think" not in without_reasoning(answer)
    try:
        text = QUESTION.read(answer, "dog")
    except AnswerError:
        return
    assert not set(text) & set('<>|*{}"[]')


def test_the_class_is_named_in_the_question_and_an_unknown_question_is_refused():
    assert QUESTION.ask("{} panda").startswith("The main object of this picture is: {} panda.")
    with pytest.raises(InputError, match=r"'surroundings' is unknown; use one of surroundings-v1"):
        find_question("surroundings")
