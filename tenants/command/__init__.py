"""The commands of `bulkhead tenants`: every module here is one, named by itself (`import_` is `import`).

A command module has `add_parser(commands)`, which declares its options and sets `run`, a function from the
parsed arguments to the exit status. `tenants.__main__` finds it by its name; no list has to be kept.
"""
