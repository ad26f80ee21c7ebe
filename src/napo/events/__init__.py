"""What users did with what they were shown, kept where a server can write it down at any time.

Path    a server -> [events] -> `napo data from-events` -> data.source

event: what is kept of one event, checked. store: `EventStore`, SQLite or PostgreSQL.
"""

from napo.events.event import KINDS as KINDS
from napo.events.event import Event as Event
from napo.events.event import Kind as Kind
