"""Checks that a server is what the official OpenAI client for Python takes it for.

BASE_URL (with /v1) and MODEL name the server and the model; one line per check, exit code 1 if one failed.
"""

import os
import sys

import openai

MODEL = os.environ["MODEL"]
EMBEDDING_MODEL = os.environ.get("EMBEDDING_MODEL", MODEL)
QUESTION = [{"role": "user", "content": "Say something short."}]

# Retries would hide a fault behind a second try.
client = openai.OpenAI(
    base_url=os.environ["BASE_URL"],
    api_key=os.environ.get("API_KEY", "none"),
    max_retries=0,
    timeout=60,
)


def models_are_listed():
    models = [model.id for model in client.models.list()]
    assert MODEL in models, f"{MODEL} is not in {models}"
    assert client.models.retrieve(MODEL).id == MODEL


def a_chat_is_answered():
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8)
    assert answer.object == "chat.completion", answer.object
    assert answer.model == MODEL, answer.model
    choice = answer.choices[0]
    assert choice.message.role == "assistant" and choice.message.content, choice
    assert choice.finish_reason in ("stop", "length"), choice.finish_reason
    usage = answer.usage
    assert usage.completion_tokens > 0 and usage.prompt_tokens > 0, usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens, usage


def a_chat_is_streamed():
    chunks = list(client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    reasons = [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]
    assert text, "the stream has no text"
    assert len(chunks) > 2, f"only {len(chunks)} chunks"
    assert reasons in (["stop"], ["length"]), reasons
    assert all(chunk.usage is None for chunk in chunks), "usage was not asked for"


def a_stream_ends_with_usage_if_asked():
    options = {"include_usage": True}
    chunks = list(
        client.chat.completions.create(
            model=MODEL, messages=QUESTION, max_tokens=8, stream=True, stream_options=options
        )
    )
    last = chunks[-1]
    assert last.choices == [] and last.usage.completion_tokens > 0, last


def two_answers_are_given():
    answer = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, n=2)
    assert [choice.index for choice in answer.choices] == [0, 1], answer.choices


def two_answers_are_streamed():
    stream = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=8, n=2, stream=True)
    indexes = {choice.index for chunk in stream for choice in chunk.choices}
    assert indexes == {0, 1}, indexes


def prompts_are_completed_in_order():
    answer = client.completions.create(model=MODEL, prompt=["one", "two"], max_tokens=4)
    assert [choice.index for choice in answer.choices] == [0, 1], answer.choices
    assert all(choice.text for choice in answer.choices), answer.choices


def texts_are_embedded():
    answer = client.embeddings.create(model=EMBEDDING_MODEL, input=["one", "two"])
    assert [item.index for item in answer.data] == [0, 1], answer.data
    lengths = {len(item.embedding) for item in answer.data}
    assert len(lengths) == 1 and lengths.pop() > 0, "embeddings differ in length"


def a_wrong_model_is_not_found():
    try:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    except openai.NotFoundError as error:
        assert error.status_code == 404 and error.code == "model_not_found", (error.status_code, error.code)
        assert error.type and error.message, error
    else:
        raise AssertionError("a model that nobody serves was answered")


def a_body_without_model_is_a_bad_request():
    try:
        client.post("/chat/completions", cast_to=object, body={"messages": QUESTION})
    except openai.BadRequestError as error:
        assert error.status_code == 400 and error.message and error.type, error
    else:
        raise AssertionError("a body without a model was answered")


def a_stream_can_be_left():
    stream = client.chat.completions.create(model=MODEL, messages=QUESTION, max_tokens=512, stream=True)
    next(iter(stream))
    stream.close()
    a_chat_is_answered()


CHECKS = [
    models_are_listed,
    a_chat_is_answered,
    a_chat_is_streamed,
    a_stream_ends_with_usage_if_asked,
    two_answers_are_given,
    two_answers_are_streamed,
    prompts_are_completed_in_order,
    texts_are_embedded,
    a_wrong_model_is_not_found,
    a_body_without_model_is_a_bad_request,
    a_stream_can_be_left,
]


def main() -> int:
    failed = 0
    for check in CHECKS:
        name = check.__name__.replace("_", " ")
        try:
            check()
        except Exception as error:  # every kind of failure is a line, and the next check runs
            failed += 1
            print(f"FAILED {name}: {type(error).__name__}: {error}")
        else:
            print(f"ok     {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
