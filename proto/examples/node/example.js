// Stores a file as a blob, over broken connections too, and reads it back.
//
//     npm install
//     node example.js localhost:7070 demo/app FILE

import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import grpc from '@grpc/grpc-js'
import loader from '@grpc/proto-loader'
import protobuf from 'protobufjs'
import googleProtos from 'google-proto-files'

const chunk = 1 << 20 // the most that one message may carry
const protos = new URL('../..', import.meta.url).pathname
const { lamina } = grpc.loadPackageDefinition(
  loader.loadSync(['blobs', 'images'].map((f) => `lamina/v1/${f}.proto`), { includeDirs: [protos], keepCase: true, longs: Number, defaults: true }))

const rpc = new protobuf.Root()
rpc.resolvePath = (_, path) => (path.startsWith('/') ? path : googleProtos.getProtoPath('..', path))
await rpc.load([googleProtos.getProtoPath('rpc/status.proto'), googleProtos.getProtoPath('rpc/error_details.proto')])

// The reason of an error ("BLOB_UNKNOWN", …) and what goes with it.
function reason (err) {
  const [details] = err.metadata?.get('grpc-status-details-bin') ?? []
  if (!details) return { reason: '' }
  for (const { type_url: type, value } of rpc.lookupType('google.rpc.Status').decode(details).details) {
    if (type.endsWith('/google.rpc.ErrorInfo')) return rpc.lookupType('google.rpc.ErrorInfo').decode(value)
  }
  return { reason: '' }
}

// One connection's worth of an upload. Resolves to the blob; an error has the
// id of the upload to go on with.
function send (blobs, repository, path, digest, size, id) {
  return new Promise((resolve, reject) => {
    let upload = id
    let started = false
    const stream = blobs.Write()
    stream.on('error', (err) => reject(Object.assign(err, { upload })))
    stream.on('data', async (answer) => {
      if (answer.blob) return resolve(answer.blob)
      upload = answer.upload_id
      if (started) return
      started = true
      let at = answer.offset // the server says where to go on
      try {
        for await (const data of createReadStream(path, { start: at, highWaterMark: chunk })) {
          if (!stream.write({ offset: at, data })) await new Promise((resolve) => stream.once('drain', resolve))
          at += data.length
        }
        stream.write({ offset: at, finish: true })
        stream.end()
      } catch (err) {
        stream.destroy(err)
      }
    })
    stream.write({ repository, digest, size, upload_id: id })
  })
}

async function put (blobs, repository, path) {
  const hash = createHash('sha256')
  for await (const data of createReadStream(path)) hash.update(data)
  const digest = `sha256:${hash.digest('hex')}`
  const { size } = await stat(path)
  let upload = ''
  for (let attempt = 1; ; attempt++) {
    try {
      return await send(blobs, repository, path, digest, size, upload)
    } catch (err) {
      const why = reason(err)
      console.error(`attempt ${attempt}: ${err.code} ${why.reason}`, why.metadata)
      upload = err.upload
      if (why.reason === 'UPLOAD_UNKNOWN') upload = '' // it ended or grew too old: begin anew
      else if (attempt === 10 || ![grpc.status.UNAVAILABLE, grpc.status.ABORTED, grpc.status.DEADLINE_EXCEEDED].includes(err.code)) throw err
      await sleep(1000)
    }
  }
}

async function get (blobs, repository, digest) {
  const hash = createHash('sha256')
  let size = 0
  for await (const { data } of blobs.Read({ repository, digest })) {
    hash.update(data)
    size += data.length
  }
  if (digest !== `sha256:${hash.digest('hex')}`) throw new Error('not the bytes that were asked for')
  return size
}

const [server, repository, path] = process.argv.slice(2)
const blobs = new lamina.v1.Blobs(server, grpc.credentials.createInsecure())
const blob = await put(blobs, repository, path)
console.log('stored', blob.digest, blob.size)
console.log('read', await get(blobs, repository, blob.digest))
try {
  await promisify(blobs.Stat.bind(blobs))({ repository, digest: `sha256:${'0'.repeat(64)}` })
} catch (err) {
  const why = reason(err)
  console.log('as expected:', why.reason, why.metadata)
}
blobs.close()
