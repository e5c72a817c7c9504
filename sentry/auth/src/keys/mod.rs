//! Keys and keyrings, as far as programs use them to keep secrets apart: no key is made by asking user space, none expires
//! by a timer (a key past its time is refused when it is used). Linux: security/keys.

mod key;
mod keyring;

pub use key::{Key, KeyOwner, KeyPerm, KeyType};
pub use keyring::{KeyRef, KeyTable, Keyrings, search};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cred, Kuid, UserNamespace};
    use sentry_uapi::Errno;
    use sentry_uapi::errno::{EACCES, EDEADLK, EDQUOT, EKEYEXPIRED, EKEYREVOKED, ELOOP, ENOKEY};
    use std::sync::Arc;

    fn session(table: &KeyTable) -> Result<(Cred, KeyRef), Errno> {
        let mut cred = Cred::root(UserNamespace::new_initial());
        let ring = table.task_keyring(&cred, "_ses")?;
        cred.keyrings.session = Some(ring.clone());
        Ok((cred, KeyRef { key: ring, possessed: true }))
    }

    fn named<'a>(name: &'a [u8]) -> impl Fn(&Key) -> bool + 'a {
        move |key| key.key_type() == KeyType::User && key.description() == name
    }

    #[test]
    fn a_key_is_found_updated_and_ends() -> Result<(), Errno> {
        let table = KeyTable::default();
        let (cred, ring) = session(&table)?;
        let key = table.create_or_update(&cred, &ring, KeyType::User, b"a", b"one".to_vec())?;
        assert!(Arc::ptr_eq(&table.search_own(&cred, 0, &named(b"a"))?.key, &key));
        let same = table.create_or_update(&cred, &ring, KeyType::User, b"a", b"two".to_vec())?;
        assert!(Arc::ptr_eq(&same, &key));
        assert_eq!(key.read()?, b"two");
        key.set_expiry(Some(5));
        let found = |now| table.search_own(&cred, now, &named(b"a")).map(|_| ());
        assert_eq!((found(4), found(5)), (Ok(()), Err(EKEYEXPIRED)));
        key.revoke();
        assert_eq!(found(4), Err(EKEYREVOKED));
        key.invalidate();
        assert_eq!(found(4), Err(ENOKEY));
        Ok(())
    }

    #[test]
    fn keyrings_hold_no_circle_and_are_not_too_deep() -> Result<(), Errno> {
        let table = KeyTable::default();
        let (cred, ring) = session(&table)?;
        let mut rings = vec![ring.key.clone()];
        for n in 0..7u8 {
            let next = table.task_keyring(&cred, &format!("r{n}"))?;
            table.link(&rings[rings.len() - 1], &next)?;
            rings.push(next);
        }
        assert_eq!(table.link(&rings[6], &rings[3]), Err(EDEADLK));
        assert_eq!(table.link(&ring.key, &ring.key), Err(EDEADLK));
        let above = table.task_keyring(&cred, "above")?;
        assert_eq!(table.link(&above, &rings[0]), Err(ELOOP));
        Ok(())
    }

    #[test]
    fn who_has_no_permission_finds_nothing() -> Result<(), Errno> {
        let table = KeyTable::default();
        let (cred, ring) = session(&table)?;
        let key = table.create_or_update(&cred, &ring, KeyType::User, b"a", Vec::new())?;
        let other = Cred { fsuid: Kuid::from_global(7), ..cred.clone() };
        assert_eq!(key.check_permission(&other, false, KeyPerm::VIEW), Err(EACCES));
        assert_eq!(key.check_permission(&other, true, KeyPerm::READ), Ok(()));
        key.set_perm(KeyPerm::VIEW.bits());
        assert_eq!(key.check_permission(&other, false, KeyPerm::VIEW), Ok(()));
        assert_eq!(table.search_own(&cred, 0, &named(b"a")).map(|_| ()), Err(EACCES));
        Ok(())
    }

    #[test]
    fn a_user_has_so_many_keys() -> Result<(), Errno> {
        let table = KeyTable::default();
        let (cred, _) = session(&table)?;
        let user = Kuid::from_global(7);
        let cred = Cred { uid: user, fsuid: user, ..cred };
        let ring = KeyRef { key: table.task_keyring(&cred, "r")?, possessed: true };
        let make = |n: u32| {
            table.create_or_update(&cred, &ring, KeyType::User, n.to_string().as_bytes(), Vec::new())
        };
        for n in 1..200 {
            make(n)?;
        }
        assert_eq!(make(200).map(|_| ()), Err(EDQUOT));
        table.clear(&ring.key)?;
        assert!(make(200).is_ok());
        let big = table.create_or_update(&cred, &ring, KeyType::User, b"big", vec![0; 20_000]);
        assert_eq!(big.map(|_| ()), Err(EDQUOT));
        Ok(())
    }
}
