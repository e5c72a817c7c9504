//! The two macros of the conformance suite: `#[case]` registers a case, `sys!` makes one raw system call.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Ident, ItemFn, Token, parenthesized, parse_macro_input};

/// Registers a function `fn(&mut Guest)` as a case: `#[case(as_root)]`, `#[case(as_user)]` or both.
#[proc_macro_attribute]
pub fn case(attributes: TokenStream, item: TokenStream) -> TokenStream {
    let users = parse_macro_input!(attributes with Punctuated::<Ident, Token![,]>::parse_terminated);
    let function = parse_macro_input!(item as ItemFn);
    expand_case(&users, &function).unwrap_or_else(Error::into_compile_error).into()
}

fn expand_case(users: &Punctuated<Ident, Token![,]>, function: &ItemFn) -> Result<Tokens, Error> {
    if let Some(unknown) = users.iter().find(|user| *user != "as_root" && *user != "as_user") {
        return Err(Error::new(unknown.span(), "expected `as_root` or `as_user`"));
    }
    if users.is_empty() {
        return Err(Error::new(Span::call_site(), "expected `as_root`, `as_user` or both"));
    }
    let as_root = users.iter().any(|user| user == "as_root");
    let as_user = users.iter().any(|user| user == "as_user");
    let name = &function.sig.ident;
    let entry = format_ident!("CASE_{}", name.to_string().to_uppercase());
    Ok(quote! {
        #function

        #[::linkme::distributed_slice(crate::case::CASES)]
        static #entry: crate::case::Case = crate::case::Case {
            module: ::core::module_path!(),
            function: ::core::stringify!(#name),
            as_root: #as_root,
            as_user: #as_user,
            run: #name,
        };
    })
}

/// `sys!(openat(AT_FDCWD, c"name", O_RDONLY))`: the raw call, without glibc's wrapper. Gives a `Ret`, whose asserts
/// show the call as it is written.
#[proc_macro]
pub fn sys(input: TokenStream) -> TokenStream {
    let text = Tokens::from(input.clone());
    let call = parse_macro_input!(input as Call);
    let number = format_ident!("SYS_{}", call.name, span = call.name.span());
    let args = call.args.iter();
    quote! {
        crate::sys::invoke(::core::stringify!(#text), ::libc::#number, &[#(crate::sys::Arg::arg(#args)),*])
    }
    .into()
}

/// A call as `sys!` takes it.
struct Call {
    name: Ident,
    args: Punctuated<Expr, Token![,]>,
}

impl syn::parse::Parse for Call {
    fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self, Error> {
        let name = input.parse()?;
        let inner;
        parenthesized!(inner in input);
        let args = Punctuated::parse_terminated(&inner)?;
        Ok(Self { name, args })
    }
}
