"""Results as text for people. Each module takes typed results and returns strings; nothing here prints.

``text`` has what all tables share. ``documents`` writes results as JSON, from their own fields.
``prove_page`` makes the report of ``prove``, with ``html``, in which every text is escaped.
"""
