"""What a chat model wrote -> the names in it, without reasoning, special tokens and markup."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from typing import Any

from synood.errors import InputError
from synood.models._english import is_english


class AnswerError(InputError):
    """An answer from which no description can be read; the message says why."""


def answer_names(answer: str) -> list[str]:
    """Return the names that an answer lists, in its order, in ASCII letters.

    Raises:
        AnswerError: it is empty, a refusal, or not in English.

    >>> answer_names("<think>A dog, so...</think>1) a **sofa** 2) the lamp<|im_end|>")
    ['sofa', 'lamp']
    """
    final = without_reasoning(answer)
    text = _without_markup(_json_strings(final))
    ascii_text = _ascii(text)
    if _REFUSAL.search(ascii_text):
        raise AnswerError(f"the model refused to answer ({excerpt(final)})")
    if not re.search("[A-Za-z]", ascii_text):
        if any(letter.isalpha() for letter in final):
            raise AnswerError(f"the answer is not in English ({excerpt(final)})")
        raise AnswerError("the answer is empty")
    if _COUNTED.match(ascii_text):
        ascii_text = _COUNT.sub(",", ascii_text)
    names = [_name(part) for part in _SEPARATORS.split(ascii_text)]
    names = [name for name in names if re.search("[A-Za-z]", name)]
    if not is_english(names):
        raise AnswerError(f"the answer is not in English ({excerpt(final)})")
    return names


def without_reasoning(answer: str) -> str:
    """Return an answer without its reasoning and the special tokens of chat templates.

    >>> without_reasoning("<|begin_of_box|>sofa, lamp<|end_of_box|></s>")
    'sofa, lamp'
    """
    text = html.unescape(answer).translate(_BRACKETS)
    text = re.sub(r"\[(/?THINK)\]|<\|(/?think\w*)\|>", r"<\1\2>", text, flags=re.IGNORECASE)
    text = _BYTES.sub(lambda found: chr(int(found[1], 16)), text)
    text = _THINKING_BEGINS.sub("<think>", text)
    text = _THINKING_ENDS.sub("</think>", text)
    text = _REASONING.sub("", text)
    text = _REASONING_END.sub("", text)  # the template has opened it
    if "<|message|>" in text:  # several channels; only the last one answers
        channel, _, text = text.rpartition("<|message|>")
        text = "" if channel.rstrip().endswith("analysis") else text
    text = _LATEX_TEXT.sub(r"\1", text)
    if boxed := _BOXED.search(text):
        text = next(group for group in boxed.groups() if group is not None)
    text = _BEFORE_ANSWER.sub("", text)
    turns = [_TOKENS.sub(" ", turn) for turn in _END_OF_TURN.split(_ROLE.sub("", text))]
    return next((turn.strip() for turn in turns if turn.strip()), "")


def whole_items(answer: str) -> str:
    """Return an answer that was cut short without the item in which it breaks off.

    >>> whole_items("sofa, lamp, wooden fl")
    'sofa, lamp'
    """
    ends = [match.start() for match in re.finditer(r"[,;\n、，]", answer)]
    if not ends or not without_reasoning(answer[: ends[-1]]):
        raise AnswerError("the answer was cut short before it named anything")
    return answer[: ends[-1]]


def excerpt(text: str, length: int = 80) -> str:
    """Return the beginning of a text on one line, in quotation marks."""
    line = " ".join(text.split())
    return f'"{line}"' if len(line) <= length else f'"{line[:length].rstrip()}..."'


_BYTES = re.compile(r"<0x([0-7][0-9A-Fa-f])>")  # tokens of Llama's that stand for a byte
_THINKING_BEGINS = re.compile(
    r"<\|channel>thought|<\|START_THINKING\|>|<unused94>(?:thought)?|<\|(?:begin|start)_of_(?:thought|thinking)\|>"
)
_THINKING_ENDS = re.compile(
    r"<channel\|>|<\|END_THINKING\|>|<unused95>|<\|end_of_(?:thought|thinking)\|>"
)
_REASONING_TAG = r"(?:\w+:)?(?:think|thinking|thought|thoughts|reasoning|reflection|analysis"
_REASONING_TAG += r"|scratchpad|antthinking|rationale|details|tool_call|function_call)"
_REASONING = re.compile(
    rf"<({_REASONING_TAG})\b[^>]*>.*?(?:</\1\s*>|\Z)", re.DOTALL | re.IGNORECASE
)
_REASONING_END = re.compile(rf"\A.*</{_REASONING_TAG}\s*>", re.DOTALL | re.IGNORECASE)
_LATEX_TEXT = re.compile(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}")
_BOXED = re.compile(
    r"<\|begin_of_box\|>(.*?)(?:<\|end_of_box\|>|\Z)"
    r"|\\boxed\{([^{}]*)\}|<answer>(.*?)(?:</answer>|\Z)",
    re.DOTALL | re.IGNORECASE,
)
_BEFORE_ANSWER = re.compile(
    r"\A.*\n\W*(?:final )?answer(?:\W*:|[*_ ]*$)", re.DOTALL | re.IGNORECASE | re.MULTILINE
)
_END_OF_TURN = re.compile(
    r"<\|(?:im_end|eot_id|eom_id|eot|end|endoftext|end_of_text|return|end_of_turn_token"
    r"|end.of.sentence)\|>|</s>|<eos>|<end_of_turn>|<turn\|>|<end_of_utterance>"
    r"|\[EOS\]|\[end of text\]|\n\W*(?:User|Human|Note|Question)\b\W*:",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"\A.*\bASSISTANT:"
    r"|<\|(?:im_start|start_header_id|start)\|>\s*(?:assistant|model)?"
    r"|<(?:start_of_turn|\|turn)>\s*(?:model)?",
    re.DOTALL,
)
_TOKENS = re.compile(
    r"<\|[^<>|]*\|?>|<[^<>|\s]*\|>|\[(?:EOS|BOS|SEP|CLS|PAD|UNK|MASK|TOOL_CALLS|end of text)\]"
    r"|</?(?:s|pad|unk|bos|eos|image|unused\d+|extra_id_\d+)>|\[/?INST\]|<</?SYS>>",
    re.IGNORECASE,
)
_BRACKETS = str.maketrans({"◁": "<", "▷": ">", "｜": "|", "Ġ": " ", "Ċ": "\n"})

_INLINE_TAG = re.compile(r"</?(?:b|i|em|strong|u|s|span|code|mark|font|a|sub|sup)(?:\s[^<>]*)?>")
_TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_FENCE = re.compile(r"```[\w-]*")
_JSON_KEY = re.compile(r'"[\w -]*"\s*:')

_SEPARATORS = re.compile(
    r"(?<!\w)\(?(?:\d{1,2}|[a-hA-H]|[ivxIVX]{1,4})\)"  # 1) (2) c) iv)
    r"|\[\d{1,2}\]|\{\d{1,2}\}|(?<!\S)#?\d{1,2}[\]>]|(?<!\S)#\d{1,2}\s|-+>|=>"  # [1] #1 ->
    r"|\b(?:[Ss]tep|[Ii]tem|[Oo]bject) \d{1,2}[.:)]"
    r"|(?<![\w.])\d{1,2}(?:[.:]\s+|\.(?=[A-Za-z])|\s?-\s)"  # 1. sofa 2.lamp 3 - rug
    r"|(?<![\w.])(?:[a-hA-H]|[ivx]{1,4})\.\s+"  # a. sofa
    r"|[,;\n\r|!?()/&]|\s-+\s|(?<=[a-z\"'\]])\.(?=\s|$)|\b[aA]nd\b|\bas well as\b"
)
_COUNTED = re.compile(r"\W*1[\s,]+\D+[\s,;]2\b", re.DOTALL)  # "1 sofa 2 lamp"
_COUNT = re.compile(r"(?<![\w.-])\d{1,2}(?=[\s,])")
_LABEL = (
    r"(?:answers?|surroundings|background|foreground|things?|objects?|items?|elements?|reasoning"
    r"|materials?|places?|names|list|output|response|result|environment|setting|scene|context"
    r"|caption|description|assistant)"
)
_LABEL_ALONE = re.compile(_LABEL, re.IGNORECASE)
_LEAD = re.compile(
    r"^(?:(?:the|this|in the)\s+(?:picture|image|photo|background|surroundings|scene)\b,?\s*"
    r"(?:shows?|contains?|includes?|features?|has|have|is|are|there (?:is|are))?\s*)?"
    r"(?:i (?:can )?(?:also )?(?:see|notice|observe)\s+)?"
    r"(?:(?:there (?:is|are)\s+)?(?:an?|the|some|several)\s+)?",
    re.IGNORECASE,
)
_CHATTER = re.compile(
    r"^(?:sure|certainly|of course|okay|ok|yes|here (?:are|is|you)\b.*|here's\b.*"
    r"|(?:i hope|let me|please|feel free|if you|hope)\b.*)$",
    re.IGNORECASE,
)
_REST = re.compile(
    r"(?:etc|etcetera|more|others|so (?:on|forth)|first|second|third|finally|lastly)", re.IGNORECASE
)
_REFUSAL = re.compile(
    r"^\W*(?:i'?m |i am )(?:very |so |really )?(?:sorry|afraid|unable)\b"
    r"|^\W*(?:very |so )?sorry\b(?!-)|^\W*unable to\b"
    r"|\b(?:I|we) (?:cannot|can'?t|can not|(?:am|are) (?:unable|not able)|won'?t|will not"
    r"|(?:must|have to) (?:decline|refuse)|decline to|refuse to|apologi[sz]e"
    r"|(?:do not|don'?t) (?:have the ability|feel comfortable|know\b))"
    r"|\bI (?:do not|don'?t) see (?:any|an) image\b"
    r"|\b(?:I'm|I am|we are|we're) (?:sorry|unable|just an ai|an ai"
    r"|not (?:able|comfortable|allowed|permitted|authori[sz]ed|going to|sure))\b|\bmy apologies\b"
    r"|\bas an? (?:ai|(?:large )?(?:language|multimodal|vision) model)\b"
    r"|\b(?:can'?t|cannot|can not|unable to) (?:assist|help|comply|fulfil|process)"
    r"|\bcannot be (?:described|determined|identified|processed|shown|displayed)\b"
    r"|\b(?:image|picture|photo) (?:(?:is|was|has been|could|can|does|did) )?"
    r"(?:not|cannot|can't|couldn't)(?: be)? (?:visible|found|accessible|provided|attached|available"
    r"|loaded|load|opened|seen|viewed)\b|\bnot visible to me\b"
    r"|\b(?:could|can|would) you (?:please )?(?:upload|provide|share|send|attach)\b"
    r"|\b(?:no|any|an) image (?:was|has been|is) (?:provided|attached|uploaded)"
    r"|\b(?:request|content|response|answer|image) (?:(?:is|was|has been) )?"
    r"(?:declined|blocked|refused|denied|filtered|withheld|redacted|removed|(?:un|not )available)\b"
    r"|^\W*(?:redacted|blocked|filtered|censored|(?:(?:internal )?server )?error|undefined|nan"
    r"|true|false)\W*$|^\W*rate limit"
    r"|\b(?:against|violates?) (?:my|our|the|its)? ?(?:\w+ )?(?:polic|guidelines|terms|rules)"
    r"|^\W*(?:an? )?(?:\w+ )?error (?:occurred|has)\b|^\W*error\s*[:\d]"
    r"|^\W*(?:it(?:'s| is) )?(?:unclear|unknown|uncertain|unidentifiable)\W*$"
    r"|\b(?:lo siento|no puedo|desole|je ne peux|tut mir leid|ich kann|mi dispiace|nao posso)\b",
    re.IGNORECASE,
)
_ASCII = str.maketrans(
    {
        **dict.fromkeys("、。，；・•●▪◦‣⁃·∙■□✓✔➢➤\t\u2028\u2029\x85", ","),
        **dict.fromkeys("،؛", ","),  # Arabic
        **dict.fromkeys("→⇒➔➜▶", ","),
        **dict.fromkeys("’‘‛′ʼ´`", "'"),
        **dict.fromkeys("“”„«»‹›「」『』【】《》", '"'),
        **dict.fromkeys("‐‑–—―−", "-"),
        **{"ß": "ss", "æ": "ae", "Æ": "Ae", "ø": "o", "Ø": "O", "œ": "oe", "Œ": "Oe"},
        **{"ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ð": "d", "þ": "th", "Þ": "Th", "ı": "i"},
    }
)
_ENCLOSED_NUMBER = re.compile("[\u2460-\u249b\u24ea-\u24ff\u2776-\u2793]|\\d\ufe0f?\u20e3")


def _json_strings(text: str) -> str:
    """Return the strings of an answer in JSON, separated by commas; other text as it is."""
    bare = _FENCE.sub("", text).strip()
    try:
        value = json.loads(bare)
    except (ValueError, RecursionError):
        return _JSON_KEY.sub(",", bare)
    return ", ".join(_strings(value)) if isinstance(value, dict | list) else bare


def _strings(value: Any) -> list[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        inner = [one for one in value.values() if isinstance(one, list | dict)]
        found = [text for one in inner for text in _strings(one)]
        found = found or [one for one in value.values() if isinstance(one, str)]
        return found or [name for name, one in value.items() if isinstance(one, int | float)]
    if isinstance(value, list):
        rows = [(one, _strings(one)) for one in value]
        # of an object in a list only the first field names the thing, the others describe it
        return [
            text for one, texts in rows for text in (texts[:1] if isinstance(one, dict) else texts)
        ]
    return []


def _without_markup(text: str) -> str:
    text = _TAG.sub(",", _INLINE_TAG.sub("", _LINK.sub(r"\1", text)))
    text = re.sub(r"^\s*[-*+>#]+\s|(?<=\s)[*+>]\s|(?<!\S)#(?=\w)", ",", text, flags=re.MULTILINE)
    text = re.sub(r"\bn/a\b", "none", text, flags=re.IGNORECASE)
    text = re.sub(r"\\[nrt]\b|\\n(?=[A-Za-z])", "\n", text)  # escaped twice
    return re.sub(r"\*+|__+|~~|`|\\|\$", "", text)


def _ascii(text: str) -> str:
    """Return text in ASCII: accents go, and words in other scripts, of which CLIP sees bytes."""
    text = _ENCLOSED_NUMBER.sub(",", text).translate(_ASCII)
    kept = []
    for letter in unicodedata.normalize("NFKD", text):
        kind = unicodedata.category(letter)
        if letter.isascii() or kind[0] in "LN":
            kept.append(letter)
        elif kind[0] in "ZSP":
            kept.append(" ")
    return re.sub(r"[\w'-]*[^\x00-\x7f][\w'-]*", " ", "".join(kept)).translate(_CONTROLS)


_CONTROLS = dict.fromkeys((*range(10), *range(11, 32), 127), " ")
_EDGES = " .,:;!?*\"'`()[]<>{}#_~-=+\\"


def _name(part: str) -> str:
    """Return one name without list marks, lead-in, article and quotation marks."""
    label, colon, rest = part.partition(":")
    if colon:
        is_label = re.search(rf"\b{_LABEL}\b", label, re.IGNORECASE)
        lead_in = is_label or _CHATTER.match(label.strip(_EDGES)) or len(label.split()) > 4
        part = rest if lead_in else label
    name = " ".join(_LEAD.sub("", part.strip(_EDGES)).split()).strip(_EDGES)
    if any(pattern.fullmatch(name) for pattern in (_LABEL_ALONE, _REST)) or _CHATTER.match(name):
        return ""
    return name
