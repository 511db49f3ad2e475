"""The table of MM-CSE against HAN and without each of its parts."""
