"""The link that the registry pretends to be: latency and bandwidth."""
import itertools
import threading
import time


class Bucket:
    """Bytes a second, shared in the order of asking. 0: no limit."""

    def __init__(self, rate):
        self.rate = rate
        self.lock = threading.Lock()
        self.next = 0.0

    def take(self, count):
        """Waits until `count` more bytes have had time to pass."""
        if not self.rate:
            return
        with self.lock:
            self.next = max(self.next, time.monotonic()) + count / self.rate
            wait = self.next - time.monotonic()
        if wait > 0:
            time.sleep(wait)


class Link:
    """Of `slow_every` connections the fifth gets a hundredth of `rate_conn`; 0: none."""

    def __init__(self, latency_ms=0, rate_total=0, rate_conn=0, slow_every=0):
        self.latency_ms = latency_ms
        self.rate_conn = rate_conn
        self.slow_every = slow_every
        self.opened = itertools.count(1)
        self.total = Bucket(rate_total)

    @property
    def shaped(self):
        return bool(self.rate_conn or self.total.rate)

    def connection(self):
        number = next(self.opened)
        slow = self.slow_every and number % self.slow_every == 5
        return Bucket(self.rate_conn / 100 if slow else self.rate_conn)

    def piece(self):
        """How many bytes are sent between two looks at the buckets: about a millisecond."""
        rate = self.total.rate or self.rate_conn
        return max(16 << 10, min(1 << 20, int(rate / 1000) & ~0xFFF)) if rate else 1 << 20

    def delay(self, first):
        """A request waits one round trip, the first of a connection two (the handshake)."""
        if self.latency_ms:
            time.sleep(self.latency_ms / 1000 * (2 if first else 1))
