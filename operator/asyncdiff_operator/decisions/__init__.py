"""The decisions of `plan`, one a file: each looks at the situation and says what it makes of it."""
