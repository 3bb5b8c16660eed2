// A server of Node's own make to stand behind the node under test.
//
// Usage: server.js PORT NAME KEEP_ALIVE_MS; prints "listening PORT", and "report TEXT" for each
// POST to /report. Answers by path, as tests/support/web_server.rs does, and has a page for
// browsers at / and a WebSocket that echoes at /ws.
'use strict';
const http = require('http');
const { WebSocketServer } = require('ws');

const [port, name, keepAlive] = process.argv.slice(2);
const MASK = (1n << 64n) - 1n;
const known = new Map();

// The content that belongs to a path (tests/support/web.rs).
function content(path, length) {
  if (known.has(path)) return known.get(path);
  let seed = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(path)) seed = ((seed ^ BigInt(byte)) * 0x100000001b3n) & MASK;
  const all = Buffer.alloc(Math.ceil(length / 8) * 8);
  for (let n = 0; n < all.length / 8; n++) {
    let word = (seed + BigInt(n) * 0x9e3779b97f4a7c15n) & MASK;
    word = ((word ^ (word >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK;
    word = ((word ^ (word >> 27n)) * 0x94d049bb133111ebn) & MASK;
    all.writeBigUInt64LE(word ^ (word >> 31n), n * 8);
  }
  known.set(path, all.subarray(0, length));
  return known.get(path);
}

function inPieces(response, bytes) {
  for (let at = 0, size = 1; at < bytes.length; at += size, size = (size * 5) % 40009) {
    response.write(bytes.subarray(at, at + size));
  }
}

const PAGE = `<!doctype html><title>page</title><link rel=stylesheet href=/style.css>
<img id=image src=/image.svg><p id=text>waiting</p><script src=/script.js></script>`;
const SCRIPT = `
const told = {};
async function run() {
  await document.fonts.ready;
  if (document.readyState !== 'complete') await new Promise((r) => addEventListener('load', r));
  told.image = document.getElementById('image').naturalWidth;
  told.style = getComputedStyle(document.getElementById('text')).color;
  const parts = await Promise.all([...Array(30).keys()].map(async (n) => {
    const answer = await fetch('/bytes/' + (n * 1000));
    return (await answer.arrayBuffer()).byteLength === n * 1000;
  }));
  told.parts = parts.filter(Boolean).length;
  const text = 'x'.repeat(100000);
  const echoed = await fetch('/echo', { method: 'POST', body: text });
  told.echo = (await echoed.text()) === text;
  told.socket = await new Promise((done, failed) => {
    const socket = new WebSocket('ws://' + location.host + '/ws');
    socket.onopen = () => socket.send('over a socket');
    socket.onmessage = (event) => { told.message = event.data; socket.close(4001, 'enough'); };
    socket.onclose = (event) => done(event.code);
    socket.onerror = () => failed(new Error('socket'));
  });
}
run().catch((error) => { told.error = String(error); })
  .finally(() => fetch('/report', { method: 'POST', body: JSON.stringify(told) }));
`;
const FILES = {
  '/': ['text/html', PAGE],
  '/script.js': ['text/javascript', SCRIPT],
  '/style.css': ['text/css', '#text { color: rgb(1, 2, 3) }'],
  '/image.svg': ['image/svg+xml', '<svg xmlns="http://www.w3.org/2000/svg" width="16" height="9"/>'],
};

function answer(request, response) {
  const path = request.url.split('?')[0];
  const [kind, first, second] = path.slice(1).split('/');
  response.setHeader('X-Server', name);
  if (path in FILES) {
    response.setHeader('Content-Type', FILES[path][0]);
    return response.end(FILES[path][1]);
  }
  switch (kind) {
    case 'bytes':
      response.setHeader('Content-Length', Number(first));
      return response.end(content(path, Number(first)));
    case 'chunked':
      inPieces(response, content(path, Number(first)));
      return response.end();
    case 'trailers':
      response.setHeader('Trailer', 'X-Sum');
      inPieces(response, content(path, Number(first)));
      response.addTrailers({ 'X-Sum': '42' });
      return response.end();
    case 'slow':
      return setTimeout(() => response.end(content(path, Number(second))), Number(first));
    case 'early':
      return response.end('early');
    case 'report': {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      return request.on('end', () => {
        console.log(`report ${Buffer.concat(parts)}`);
        response.end();
      });
    }
    case 'echo':
      return request.pipe(response);
    default:
      response.statusCode = 404;
      return response.end();
  }
}

const server = http.createServer(answer);
server.keepAliveTimeout = Number(keepAlive);
// Node promises a second more than it is told; the race is what is wanted here.
server.keepAliveTimeoutBuffer = 0;
const sockets = new WebSocketServer({ server, path: '/ws', maxPayload: 1 << 24 });
sockets.on('connection', (socket) => {
  socket.on('message', (data, isBinary) => {
    if (String(data) === 'close me') socket.close(4242, 'as asked');
    else socket.send(data, { binary: isBinary });
  });
});
server.listen(Number(port), '127.0.0.1', () => console.log(`listening ${server.address().port}`));
