"""Random numbers of the suites' generators: from a seed, the same on every machine and version of Python."""


class SplitMix64:
    """Steele, Lea and Flood 2014; 64-bit state, the same numbers everywhere."""

    def __init__(self, seed):
        self.state = seed & (2**64 - 1)

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & (2**64 - 1)
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & (2**64 - 1)
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & (2**64 - 1)
        return z ^ (z >> 31)

    def below(self, n):
        return (self.next() * n) >> 64

    def pick(self, values):
        return values[self.below(len(values))]

    def some(self, values, n):
        pool = list(values)
        return [pool.pop(self.below(len(pool))) for _ in range(n)]
