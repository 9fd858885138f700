"""A character language model for many clients at once, a step at a time.

model      the network: from a file, or a small one trained first
engine     one jitted step for all slots, each its own state, seed and temperature
batcher    the loop that gathers who wants a step, runs it, and gives each his character
protocol   what a client may say, and the limits
app        the page, the WebSocket, headers
load       latency under load
clients    good ones and bad ones, for the next
soak       ten minutes of clients good and bad

A frame comes in at `app.listen`, is checked by `protocol.parse`, and becomes a `batcher.Text`. The
batcher's loop steps it with all others through `engine.Engine`, and `app.speak` sends what was
written.
"""
