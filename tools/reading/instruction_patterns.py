"""What passages that speak to a model look like: kind, why it is looked for, and its patterns, as data.

Patterns are matched in folded text (`webrec.tools.reading.instructions`): small letters, straight quotes, one space at most
between words. Every repetition is bounded or possessive, and nothing is nested, so time grows with the length of the text.
"""

from __future__ import annotations

from dataclasses import dataclass

_MODEL = (
    r"(?:ai|llms?|(?:large )?language models?|ai models?|ai assistants?|assistants?|chatbots?|ai agents?|recommenders?)"
)
_ORDERS = r"(?:instructions?|prompts?|directions|commands|guidelines|directives)"
_BEFORE = r"(?:previous|prior|above|earlier|preceding|foregoing|original|initial|user's|system|your)"
_ANSWER = r"(?:answer|response|reply|output)"
_START = r"(?:^|[.!?:;\"')\]>] ?)"


@dataclass(frozen=True)
class Rule:
    """One kind of passage. With `names_candidate` a match counts only if a candidate's title follows shortly."""

    kind: str
    why: str
    patterns: tuple[str, ...]
    names_candidate: bool = False


RULES = (
    Rule(
        "override",
        "tells the model to drop its instructions",
        (
            r"\b(?:ignore|disregard|forget|override|bypass|neglect|discard)(?: (?:all|any|every|of|the|these|those|and|other|rest|"
            rf"my|our|{_BEFORE}))" + "{1,6}" + rf" {_ORDERS}\b",
            r"\b(?:ignore|disregard|forget|discard)(?: (?:all|any|of|the|everything|what|was|is|said|rest|other|user's))"
            r"{1,5} (?:above|before this|you (?:were|have been|are) told|context|history|websites|messages|rules above)\b",
            r"\b(?:new|updated|revised|real|actual) (?:task|instructions?|objective|system prompt) ?:",
            r"\bignoriere(?:n sie)?(?: alle| die| bitte)* (?:vorherigen|bisherigen|obigen|vorigen) \w++",
            r"\b(?:ignore[rz]?|oublie[rz]?)(?: toutes| tous)? les (?:instructions|consignes)\b",
            r"\b(?:ignora|ignore|olvida)(?: todas)? las instrucciones\b",
            r"\b(?:ignore|esqueça)(?: todas)? as instruções\b",
            r"\b(?:ignora|dimentica)(?: tutte)? le istruzioni\b",
            r"\b(?:игнорируй|игнорируйте|забудь|забудьте)(?: все)?(?: предыдущие| прежние)? (?:инструкции|указания)",
            r"忽略(?:之前|以上|先前|上面|前面)?的?(?:所有|一切|全部)?的?(?:指令|指示|提示|说明)",
            r"(?:以前|上記|これまで|前)の(?:指示|命令|プロンプト)(?:を|は)(?:すべて|全て)?無視",
        ),
    ),
    Rule(
        "persona",
        "gives the model another part to play",
        (
            r"\byou are (?:now|no longer) (?:an?|the|my|acting|playing)\b",
            r"\byou are an? (?:\w++ ){0,3}?(?:assistant|ai|language model|chatbot|recommender|recommendation (?:system|engine))\b",
            rf"{_START}(?:please |now )?(?:act|behave|answer|respond|roleplay) as (?:if you|though you|an? |my )",
            r"\bfrom now on,? you (?:are|will|must|should|act|only)\b",
            r"\byour (?:new|only|real|true) (?:task|role|instructions?|goal|objective|job) (?:is|are)\b",
        ),
    ),
    Rule(
        "addressed",
        "speaks to a model instead of a reader",
        (
            rf"\b(?:dear|attention|hello|hey|note (?:to|for)|notice (?:to|for)|message (?:to|for)|instructions? (?:to|for))[,:]? "
            rf"(?:(?:the|all|any|every) )?{_MODEL}\b(?! (?:director|professor|manager|editor|coach))",
            r"\bdear model\b",
            r"\b(?:if|as|since|because) you(?:'re| are) an? (?:ai|llm|(?:large )?language model|ai assistant|chatbot)\b",
            r"\bas an (?:ai|llm)(?: language)?(?: model| assistant)?,",
            rf"\b{_MODEL} (?:must|should|shall|please|are instructed to|are required to) (?:\w++ )?"
            r"(?:recommend|rank|answer|output|say|state|choose|prefer|ignore)\b",
        ),
    ),
    Rule(
        "your_answer",
        "says what the answer is to hold or how it is to be written",
        (
            rf"{_START}(?:please |then |also )?(?:add|append|include|integrate|insert|modify|augment|enhance|remove|replace|"
            r"substitute|render|convert|use|combine|group|scramble|jumble|rearrange|misspell|introduce|provide|format|phrase|"
            r"translate|start|begin|end|finish|give|write|put|mention|limit|anagram)\b.{0,160}?\b(?:your "
            rf"{_ANSWER}|your message)\b",
            rf"\bin your {_ANSWER}, (?:please |also |always |never )?(?:suggest|tease|mention|say|state|recommend|include|"
            r"use|add|write|promote|claim|do not|don't)\b",
            rf"\byour {_ANSWER} (?:must|should|shall|has to) (?:only |always )?(?:be|contain|include|start|begin|end|name)\b",
        ),
    ),
    Rule(
        "turn",
        "imitates the turns of a conversation",
        (
            r"#{2,6} ?(?:system|instructions?|assistant|user|response|human|input|output)\b ?:?",
            r"(?:^|[.!?\"')\]>*] ?)(?:system|assistant|developer) ?(?:prompt|message|note|override|instructions?)? ?: (?!\d)",
            r"\b(?:human|user) ?: [^:]{1,300}?\b(?:assistant|ai|bot) ?:",
            r"\b(?:begin|end|start)(?: of)? (?:system|user|hidden) (?:prompt|message|instructions?)\b",
        ),
    ),
    Rule(
        "template",
        "spells a special token or a chat template's mark",
        (
            r"<[|｜][^|｜<>\n]{1,40}[|｜]>",
            r"\[/?inst\]",
            r"<</?sys>>",
            r"</?s>",
            r"<(?:start|end)_of_(?:turn|text|image)>",
            r"</?(?:bos|eos|pad|unk|cls|sep|mask|endoftext|repo_name|file_sep|system|assistant|user|tool_call|tool_response|think)>",
            r"<fim_(?:prefix|middle|suffix|pad)>",
            r"\[(?:cls|sep|pad|unk|mask|bos|eos)\]",
            r"<0x[0-9a-f]{2}>",
            r"<unused\d{1,4}>|<extra_id_\d{1,3}>|<reserved_\w{1,30}>",
        ),
    ),
    Rule(
        "imitation",
        "imitates our own prompt",
        (
            r"\[\d{1,3}\] ?title ?:",
            r"\btitle ?: .{1,200}?\bcontent ?:",
            r"\bwebsites ?: ?(?:\[\d|none)",
            r"\bthe (?:next )?recommendation (?:is|should be|must be)\b",
            r"\b(?:a|the|this) user has (?:bought|purchased|watched|told us)\b",
            r"\bitem title set\b",
            r"\brecommend the next item\b",
        ),
    ),
    Rule(
        "answer",
        "gives the answer away, or orders it, and names a candidate",
        (
            r"\b(?:answer|choice|recommendation|next item|next purchase|best match|winner|solution) (?:is|must be|should be|"
            r"will be)\b ?:?",
            r"\b(?:answer|recommendation|output|result|response) ?[:=]",
            r"\b(?:answer|respond|reply|end|begin|start|conclude) (?:only |always |simply |exactly )?with\b",
            r"\b(?:print|output|return|write|say|type|state) (?:only|exactly|just|nothing but|the (?:title|word|words|text)|"
            r"this title|exactly this title|verbatim)\b ?:?",
        ),
        names_candidate=True,
    ),
    Rule(
        "ranking",
        "orders a recommendation or a place in the ranking, and names a candidate",
        (
            rf"{_START}(?:please |always |only |never |just |now |do not |don't |you (?:must|should|have to|need to|will) "
            r"(?:always |only |never |not )?)?(?:recommend|rank|choose|pick|select|prefer|suggest|promote|prioriti[sz]e)\b",
            r"\b(?:always|must|never|please) (?:recommend|rank|choose|pick|select|prefer|suggest|promote|prioriti[sz]e|answer)\b",
            r"\b(?:recommend|rank|place|put|list) (?=.{1,90}?(?:\bfirst\b|\bat the top\b|\bon top\b|\babove (?:all|every|the)\b|"
            r"\bhighest\b|\bnumber one\b|\band nothing else\b|\bas (?:the )?(?:first|only|top)\b))",
        ),
        names_candidate=True,
    ),
    Rule(
        "encoded",
        "holds a long run of encoded text",
        (
            r"(?:\\x[0-9a-f]{2}){8,}",
            r"(?:%[0-9a-f]{2}){8,}",
            r"(?:&#x?[0-9a-f]{2,6};){6,}",
            r"(?:\b[01]{8} ){6,}",
        ),
    ),
    Rule(
        "hidden",
        "keeps traces of text that a browser does not show",
        (
            r"\bdisplay ?: ?none\b",
            r"\bvisibility ?: ?hidden\b",
            r"\bfont-size ?: ?0(?:px|pt|em|rem|%)?(?![\d.])",
            r"\bopacity ?: ?0(?:\.0+)?(?![\d.])",
            r"\btext-indent ?: ?-\d{3}",
            r"(?<![-\w])color ?: ?(?:#fff(?:fff)?|white|transparent)\b",
            r"\baria-hidden ?= ?\W?true",
            r"<!--",
        ),
    ),
)
