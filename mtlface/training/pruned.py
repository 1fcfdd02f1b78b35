"""How a trial of no promise ends; known without torch."""


class Pruned(Exception):
    """A trial was stopped because others had done better by then: neither done nor failed."""
