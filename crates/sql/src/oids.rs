//! SQL types as PostgreSQL numbers them: type oids, lengths and modifiers. pg_type shows the same.

use quiver_base::SqlType;

/// `vector` of the vector extension. Extensions get oids from 16384 on in PostgreSQL; clients look this one up by name.
pub(crate) const VECTOR: u32 = 15_001;
/// `vector[]`.
pub(crate) const VECTOR_ARRAY: u32 = 15_007;

/// (type oid, oid of its array type, typlen) of a type that is no array.
fn base(ty: &SqlType) -> (u32, u32, i16) {
    match ty {
        SqlType::Bool => (16, 1000, 1),
        SqlType::Bytea => (17, 1001, -1),
        SqlType::Char => (18, 1002, 1),
        SqlType::Name => (19, 1003, 64),
        SqlType::Int8 => (20, 1016, 8),
        SqlType::Int2 => (21, 1005, 2),
        SqlType::Int2Vector => (22, 1006, -1),
        SqlType::Int4 => (23, 1007, 4),
        SqlType::Regproc => (24, 1008, 4),
        SqlType::Text => (25, 1009, -1),
        SqlType::Oid => (26, 1028, 4),
        SqlType::OidVector => (30, 1013, -1),
        SqlType::Json => (114, 199, -1),
        SqlType::Float4 => (700, 1021, 4),
        SqlType::Float8 => (701, 1022, 8),
        SqlType::Unknown => (705, 0, -2),
        SqlType::Bpchar(_) => (1042, 1014, -1),
        SqlType::Varchar(_) => (1043, 1015, -1),
        SqlType::Date => (1082, 1182, 4),
        SqlType::Time(_) => (1083, 1183, 8),
        SqlType::Timestamp(_) => (1114, 1115, 8),
        SqlType::Timestamptz(_) => (1184, 1185, 8),
        SqlType::Interval(_) => (1186, 1187, 16),
        SqlType::Numeric(_) => (1700, 1231, -1),
        SqlType::Regclass => (2205, 2210, 4),
        SqlType::Regtype => (2206, 2211, 4),
        SqlType::Void => (2278, 0, 4),
        SqlType::Uuid => (2950, 2951, 16),
        SqlType::Jsonb => (3802, 3807, -1),
        SqlType::Regprocedure => (2202, 2207, 4),
        SqlType::Regoper => (2203, 2208, 4),
        SqlType::Regoperator => (2204, 2209, 4),
        SqlType::Regnamespace => (4089, 4090, 4),
        SqlType::Bit(_) => (1560, 1561, -1),
        SqlType::Varbit(_) => (1562, 1563, -1),
        SqlType::Regrole => (4096, 4097, 4),
        SqlType::Vector(_) => (VECTOR, VECTOR_ARRAY, -1),
        SqlType::Halfvec(_) => (15_114, 15_120, -1),
        SqlType::Sparsevec(_) => (15_249, 15_255, -1),
        // An array of arrays is the same type in PostgreSQL.
        SqlType::Array(item) => base(item),
    }
}

/// The oid of a type, as in pg_type.
pub(crate) fn type_oid(ty: &SqlType) -> u32 {
    match ty {
        SqlType::Array(item) => base(item).1,
        _ => base(ty).0,
    }
}

/// typlen: bytes of a fixed-length type, -1 for variable length.
pub(crate) fn type_len(ty: &SqlType) -> i16 {
    match ty {
        SqlType::Array(_) => -1,
        _ => base(ty).2,
    }
}

/// In the modifier of an interval: that it has every field.
pub(crate) const EVERY_FIELD: i32 = 0x7fff_0000;

/// atttypmod: vector(n), bit(n) and their like are n, varchar(n) and char(n) are n + 4, numeric(p, s) as PostgreSQL packs it, else -1.
pub(crate) fn type_modifier(ty: &SqlType) -> i32 {
    match ty {
        SqlType::Vector(Some(dim)) | SqlType::Halfvec(Some(dim)) => i32::from(*dim),
        SqlType::Sparsevec(Some(n)) | SqlType::Bit(Some(n)) | SqlType::Varbit(Some(n)) => {
            i32::try_from(*n).unwrap_or(-1)
        }
        SqlType::Varchar(Some(n)) | SqlType::Bpchar(Some(n)) => i32::try_from(*n).map_or(-1, |n| n + 4),
        SqlType::Numeric(Some((precision, scale))) => {
            ((i32::from(*precision) << 16) | (i32::from(*scale) & 0x7ff)) + 4
        }
        SqlType::Time(Some(p)) | SqlType::Timestamp(Some(p)) | SqlType::Timestamptz(Some(p)) => i32::from(*p),
        SqlType::Interval(Some(p)) => EVERY_FIELD | i32::from(*p),
        SqlType::Array(item) => type_modifier(item),
        _ => -1,
    }
}

/// The type that a client means by an oid; `None` for 0 (say it yourself) and for types that Quiver does not have.
pub(crate) fn type_of_oid(oid: u32) -> Option<SqlType> {
    let types = [
        SqlType::Bool,
        SqlType::Bytea,
        SqlType::Char,
        SqlType::Name,
        SqlType::Int8,
        SqlType::Int2,
        SqlType::Int2Vector,
        SqlType::Int4,
        SqlType::Regproc,
        SqlType::Text,
        SqlType::Oid,
        SqlType::OidVector,
        SqlType::Json,
        SqlType::Float4,
        SqlType::Float8,
        SqlType::Unknown,
        SqlType::Bpchar(None),
        SqlType::Varchar(None),
        SqlType::Date,
        SqlType::Time(None),
        SqlType::Timestamp(None),
        SqlType::Timestamptz(None),
        SqlType::Interval(None),
        SqlType::Numeric(None),
        SqlType::Regclass,
        SqlType::Regtype,
        SqlType::Void,
        SqlType::Uuid,
        SqlType::Jsonb,
        SqlType::Regnamespace,
        SqlType::Bit(None),
        SqlType::Varbit(None),
        SqlType::Regrole,
        SqlType::Regprocedure,
        SqlType::Regoper,
        SqlType::Regoperator,
        SqlType::Vector(None),
        SqlType::Halfvec(None),
        SqlType::Sparsevec(None),
    ];
    if oid == 0 {
        return None;
    }
    types.into_iter().find_map(|ty| match base(&ty) {
        (own, _, _) if own == oid => Some(ty),
        (_, array, _) if array == oid => Some(SqlType::Array(Box::new(ty))),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oids_lead_back_to_their_types() {
        for ty in
            [SqlType::Int4, SqlType::Jsonb, SqlType::Vector(None), SqlType::Array(Box::new(SqlType::Text))]
        {
            assert_eq!(type_of_oid(type_oid(&ty)), Some(ty));
        }
        assert_eq!(type_of_oid(0), None);
        assert_eq!(type_of_oid(999_999), None);
    }

    #[test]
    fn modifiers_are_packed_as_in_postgresql() {
        assert_eq!(type_modifier(&SqlType::Numeric(Some((10, 2)))), 655_366);
        assert_eq!(type_modifier(&SqlType::Varchar(Some(7))), 11);
        assert_eq!(type_modifier(&SqlType::Vector(Some(384))), 384);
        assert_eq!(type_modifier(&SqlType::Text), -1);
    }
}
