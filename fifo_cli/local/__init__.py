"""What runs on this machine: the embedded stack, APIs on loopback, and the story of ``demo``.

``stack`` starts and stops the embedded stack of a project folder; ``process`` is its process, ``server`` what
runs in it. ``receiver`` stands in for the third-party API, ``prove_receiver`` for the API of ``prove``; both
are servers of ``loopback``. ``access`` says who may use such a server.
"""
