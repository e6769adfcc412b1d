"""Who watches the tasks? One tracker a session; Task/Detail decides, all else is a hint."""
