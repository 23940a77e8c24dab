"""Values and pure functions of values. Nothing here calls AWS, reads the clock or prints.

Settings: ``settings`` reads fifo.toml, with ``setting_types``, ``auth_settings`` and ``setting_problems``.
Resources: ``names``, ``resources`` and the policies say what a pipeline has; ``planning`` compares that with
what AWS has. Messages: ``message`` and ``message_json``. Health: ``health`` and ``advice`` judge what was
measured, ``stuck_advice`` judges stuck groups, ``drift_effects`` judges drift. Records of work:
``worker_log`` is what the functions log, ``history_events`` what operators did. Results: ``results``.
"""
