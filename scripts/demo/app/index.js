// A small web application that keeps one note in a file of its own filesystem:
// GET /note shows it, POST /note replaces it. Each container of this image
// therefore writes to the same path, and what it reads back is what it wrote.
const fs = require('node:fs')
const path = require('node:path')
const express = require('express')

const port = Number(process.env.PORT || 3000)
const file = path.join(__dirname, 'note.txt')

const app = express()
app.use(express.text({ type: '*/*', limit: '64kb' }))

app.get('/note', (req, res) => {
  fs.readFile(file, 'utf8', (err, note) => {
    if (err && err.code === 'ENOENT') return res.status(404).send('no note yet\n')
    if (err) return res.status(500).send(`${err.message}\n`)
    res.type('text/plain').send(note)
  })
})

app.post('/note', (req, res) => {
  fs.writeFile(file, `${req.body}\n`, (err) => {
    if (err) return res.status(500).send(`${err.message}\n`)
    res.status(201).send('kept\n')
  })
})

app.listen(port)
