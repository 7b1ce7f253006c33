// Checks that a server is what the official OpenAI client for Node takes it for.
//
// BASE_URL (with /v1) and MODEL name the server and the model; one line per check, exit code 1 if one failed.
'use strict'

const assert = require('node:assert/strict')
const OpenAI = require('openai')

const { BASE_URL, MODEL, API_KEY = 'none', EMBEDDING_MODEL = MODEL } = process.env
assert(BASE_URL && MODEL, 'BASE_URL and MODEL must be set')
const messages = [{ role: 'user', content: 'Say something short.' }]

// Retries would hide a fault behind a second try.
const client = new OpenAI({ baseURL: BASE_URL, apiKey: API_KEY, maxRetries: 0, timeout: 60_000 })

const collect = async (stream) => {
  const chunks = []
  for await (const chunk of stream) chunks.push(chunk)
  return chunks
}

const chat = (more = {}) => client.chat.completions.create({ model: MODEL, messages, max_tokens: 8, ...more })

const checks = {
  async 'models are listed'() {
    const ids = []
    for await (const model of client.models.list()) ids.push(model.id)
    assert(ids.includes(MODEL), `${MODEL} is not in ${ids}`)
    assert.equal((await client.models.retrieve(MODEL)).id, MODEL)
  },

  async 'a chat is answered'() {
    const answer = await chat()
    assert.equal(answer.object, 'chat.completion')
    assert.equal(answer.model, MODEL)
    const [choice] = answer.choices
    assert.equal(choice.message.role, 'assistant')
    assert(choice.message.content)
    assert(['stop', 'length'].includes(choice.finish_reason), choice.finish_reason)
    const usage = answer.usage
    assert(usage.prompt_tokens > 0 && usage.completion_tokens > 0)
    assert.equal(usage.total_tokens, usage.prompt_tokens + usage.completion_tokens)
  },

  async 'a chat is streamed'() {
    const chunks = await collect(await chat({ stream: true }))
    const choices = chunks.flatMap((chunk) => chunk.choices)
    assert(choices.map((choice) => choice.delta.content ?? '').join(''), 'the stream has no text')
    assert(chunks.length > 2, `only ${chunks.length} chunks`)
    const reasons = choices.map((choice) => choice.finish_reason).filter(Boolean)
    assert.equal(reasons.length, 1)
    assert(chunks.every((chunk) => !chunk.usage), 'usage was not asked for')
  },

  async 'a stream ends with usage if asked'() {
    const chunks = await collect(await chat({ stream: true, stream_options: { include_usage: true } }))
    const last = chunks.at(-1)
    assert.deepEqual(last.choices, [])
    assert(last.usage.completion_tokens > 0)
  },

  async 'two answers are given'() {
    const answer = await chat({ n: 2 })
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1])
  },

  async 'two answers are streamed'() {
    const chunks = await collect(await chat({ n: 2, stream: true }))
    const indexes = new Set(chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.index)))
    assert.deepEqual([...indexes].sort(), [0, 1])
  },

  async 'prompts are completed in order'() {
    const answer = await client.completions.create({ model: MODEL, prompt: ['one', 'two'], max_tokens: 4 })
    assert.deepEqual(answer.choices.map((choice) => choice.index), [0, 1])
    assert(answer.choices.every((choice) => choice.text))
  },

  async 'texts are embedded'() {
    const answer = await client.embeddings.create({ model: EMBEDDING_MODEL, input: ['one', 'two'] })
    assert.deepEqual(answer.data.map((item) => item.index), [0, 1])
    const lengths = new Set(answer.data.map((item) => item.embedding.length))
    assert(lengths.size === 1 && !lengths.has(0), 'embeddings differ in length')
  },

  async 'a wrong model is not found'() {
    await assert.rejects(chat({ model: 'no-such-model' }), (error) => {
      assert(error instanceof OpenAI.NotFoundError, `got ${error.constructor.name}: ${error.message}`)
      assert.equal(error.status, 404)
      assert.equal(error.code, 'model_not_found')
      return true
    })
  },

  async 'a body without model is a bad request'() {
    await assert.rejects(client.post('/chat/completions', { body: { messages } }), (error) => {
      assert(error instanceof OpenAI.BadRequestError, `got ${error.constructor.name}: ${error.message}`)
      assert.equal(error.status, 400)
      assert(error.type && error.message)
      return true
    })
  },

  async 'a stream can be left'() {
    const stream = await chat({ stream: true, max_tokens: 512 })
    await stream[Symbol.asyncIterator]().next()
    stream.controller.abort()
    await checks['a chat is answered']()
  }
}

const main = async () => {
  let failed = 0
  for (const [name, check] of Object.entries(checks)) {
    try {
      await check()
      console.log(`ok     ${name}`)
    } catch (error) {
      failed += 1
      console.log(`FAILED ${name}: ${error.constructor.name}: ${error.message}`)
    }
  }
  process.exitCode = failed ? 1 : 0
}

main()
