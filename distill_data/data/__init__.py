"""The nouns that everything else passes around, and reading seeds. Knows nothing about teachers, recipes or runs."""
