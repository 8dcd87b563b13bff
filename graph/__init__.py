"""The intermediate representation, its importers, the operator check and float execution."""
