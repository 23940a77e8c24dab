"""Deploy: make AWS match fifo.toml, and take it down again.

``remote_state`` reads what AWS holds of a pipeline, one gateway for each kind of resource (aws/resources).
``plan`` compares that with fifo.toml in a pure function (model/planning.py): the result is a list of named
changes. ``code_changes`` adds to it which files differ in the zips. ``deploy``, ``destroy`` and ``rollback``
choose the changes. ``apply`` carries them out level by level; within a level they run side by side. Each may
be repeated, so a run that was killed is simply run again.

``pause`` stops and starts the enqueuer and the worker, ``wait_until_idle`` waits until they have ended.
``trigger_switch`` changes in a deploy what starts the worker.

``package`` builds the functions' zips from our handlers (``builtin_libraries``), the user's files
(``user_files``) and the user's requirements (``user_requirements``, ``requirement_inputs``, ``pip_run``).
The same input gives the same bytes, so a plan can compare code by its hash.

``init`` writes a new fifo.toml; ``api_keys`` lists and sets the API's keys in SSM and Secrets Manager.
"""
