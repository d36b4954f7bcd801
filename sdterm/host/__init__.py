"""The background process: it keeps the queue, watches over the processes that draw, saves what they send and tells
everyone what happens. It loads no torch and runs no plugin."""
