"""Makes the models beside this file and records what a real engine makes of the requests in requests.json.

    python make.py train                       trains the tokenizers and writes the folders
    python make.py record NAME http://HOST:PORT   asks a vLLM that serves folder NAME, writes NAME/vectors.json

Recorded with vLLM 0.32.0, transformers 5.19.0 and tokenizers 0.23.3, on a random Granite model of two layers (a kind for which transformers takes tokenizer.json as it is) whose tokenizer
files were replaced by those of the folder. Only `/tokenize` was asked, so the model's weights do not matter.
"""

import json
import os
import sys
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ["byte-level", "begin-token", "sentence-piece"]

TEXT = """
You are a helpful assistant. The weather in Paris is sunny today, and it will be 21 degrees in the afternoon.
What is the capital of France? The capital of France is Paris. Thank you! user assistant system tool function name
{"type": "function", "function": {"name": "weather", "description": "Tells the weather", "parameters": {"city": "Paris"}}}
Numbers: 0 1 2 3 4 5 6 7 8 9 10 11 12 100 1000 2024 2026. It's, we're, don't, I'll. def main(): return None
Die Straße führt über die Brücke. Où est la bibliothèque ? 東京は日本の首都です。 Привет, мир.
"""


def save(name, tokenizer, config, template=None):
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    tokenizer.save(os.path.join(folder, "tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "TokenizersBackend", "model_max_length": 4096, **config}
    with open(os.path.join(folder, "tokenizer_config.json"), "w") as file:
        json.dump(config, file, indent=1, ensure_ascii=False)
        file.write("\n")
    if template is not None:
        with open(os.path.join(folder, "chat_template.jinja"), "w") as file:
            file.write(template)


def train():
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    words = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

    def byte_level(special):
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(words), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ])
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=520, special_tokens=special, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
        tokenizer.train_from_iterator([TEXT] * 4, trainer)
        return tokenizer

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_level(special)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.add_tokens([AddedToken(word, normalized=False) for word in ["<tool_call>", "</tool_call>", "<think>", "</think>"]])
    template = open(os.path.join(HERE, "byte-level.jinja")).read()
    save("byte-level", tokenizer, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, template)

    special = ["<|begin|>", "<|end|>", "<|head|>", "<|/head|>", "<|turn|>"]
    tokenizer = byte_level(special)
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", pair="<|begin|> $A <|begin|> $B", special_tokens=[("<|begin|>", begin)])
    templates = [{"name": name, "template": open(os.path.join(HERE, f"begin-token-{name}.jinja")).read()}
                 for name in ["default", "tool_use"]]
    save("begin-token", tokenizer, {
        "bos_token": {"__type": "AddedToken", "content": "<|begin|>", "lstrip": False, "normalized": False,
                      "rstrip": False, "single_word": False},
        "eos_token": "<|turn|>", "chat_template": templates})

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOLS]", "[/TOOLS]"]
    pieces = special + [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=pieces)
    # Words are not split, so sentences are kept short.
    lines = [word for word in TEXT.split(" ")] * 4
    tokenizer.train_from_iterator(lines, trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["content"] in special]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))])
    save("sentence-piece", tokenizer, {
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "chat_template": open(os.path.join(HERE, "sentence-piece.jinja")).read()})


def question(body):
    """What `/tokenize` is asked for the tokens of `body`."""
    if "prompt" in body:
        asked = {"prompt": body["prompt"], "add_special_tokens": body.get("add_special_tokens", True)}
    else:
        asked = {key: body[key] for key in ["messages", "tools", "add_generation_prompt", "continue_final_message",
                                            "add_special_tokens", "chat_template_kwargs"] if key in body}
        extra = {key: body[key] for key in ["documents", "reasoning_effort"] if key in body}
        if "reasoning_effort" in body:
            # Beside it, chats are given this; `/tokenize` has to be told.
            extra["enable_thinking"] = body["reasoning_effort"] != "none"
        if extra:
            asked["chat_template_kwargs"] = {**asked.get("chat_template_kwargs", {}), **extra}
    return asked


def record(name, url):
    with open(os.path.join(HERE, "requests.json")) as file:
        requests = json.load(file)
    vectors = {}
    for title, body in requests.items():
        asked = json.dumps(question(body)).encode()
        request = urllib.request.Request(url + "/tokenize", asked, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request) as answer:
                vectors[title] = json.load(answer)["tokens"]
        except urllib.error.HTTPError as error:
            # Refused by the engine: whoever tokenizes it must refuse it too.
            print(name, title, error.read().decode())
            vectors[title] = None
    with open(os.path.join(HERE, name, "vectors.json"), "w") as file:
        lines = [f" {json.dumps(title)}: {json.dumps(tokens, separators=(',', ':'))}" for title, tokens in vectors.items()]
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["train"]:
        train()
    else:
        record(sys.argv[2], sys.argv[3])
