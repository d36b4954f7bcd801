"""Pictures in the terminal: half blocks anywhere, kitty's protocol and sixel where the terminal has them."""
