"""Tables of scores and stored recordings. Never change this file; add another migration."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TARGETS = ("s_mos", "n_mos", "g_mos", "pesq_est", "stoi_est", "sdi_est")
INDEXED = ("source", "level", "model", "kind")
ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "scores",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("time_ms", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("file", sa.String(255), nullable=False),
        sa.Column("source", sa.String(100), nullable=False),
        sa.Column("level", sa.String(8), nullable=False),
        *(sa.Column(key, sa.Float, nullable=True) for key in TARGETS),
        sa.Column("flags", sa.String(255), nullable=False),
        sa.Column("error", sa.Text, nullable=True),
        sa.Column("duration_s", sa.Float, nullable=True),
        sa.Column("model", sa.String(100), nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_scores"),
    )
    op.create_index("ix_scores_time_ms", "scores", ["time_ms"])
    for name in INDEXED:
        op.create_index(f"ix_scores_{name}_id", "scores", [name, "id"])
    op.create_table(
        "recordings",
        sa.Column("score_id", ID, autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.ForeignKeyConstraint(
            ["score_id"], ["scores.id"], name="fk_recordings_score_id_scores", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("score_id", name="pk_recordings"),
    )


def downgrade() -> None:
    op.drop_table("recordings")
    op.drop_table("scores")
